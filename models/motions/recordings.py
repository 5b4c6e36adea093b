"""BasicMotions: recordings of four motions by a watch on the wrist of four students, as the package `aeon` ships them.

Each of 40 for training and 40 for testing is 10 s of 10 samples a second. Bagnall et al., "The UEA multivariate time
series classification archive, 2018", https://arxiv.org/abs/1811.00075
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MOTIONS = ("standing", "walking", "running", "badminton")

CHANNELS = 6
"""Three axes of the accelerometer, three of the gyroscope."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Samples `(T, 6)` of one motion, `MOTIONS[label]`."""

    samples: NDArray[np.float32]
    label: int


def recordings(part: Literal["TRAIN", "TEST"]) -> list[Recording]:
    """All recordings of a part, in the file's order."""
    lines = _file(part).read_text(encoding="utf-8").splitlines()
    rows = lines[lines.index("@data") + 1 :]
    return [_recording(row) for row in rows if row]


def _file(part: str) -> Path:
    try:
        package = distribution("aeon")
    except PackageNotFoundError:
        raise SystemExit("the recordings are in the package aeon: pip install --no-deps 'aeon>=1.3'") from None
    return Path(str(package.locate_file(f"aeon/datasets/data/BasicMotions/BasicMotions_{part}.ts")))


def _recording(row: str) -> Recording:
    *channels, motion = row.split(":")
    samples = np.array([channel.split(",") for channel in channels], np.float32).T
    assert samples.shape[1] == CHANNELS
    return Recording(samples=np.ascontiguousarray(samples), label=MOTIONS.index(motion.strip().lower()))
