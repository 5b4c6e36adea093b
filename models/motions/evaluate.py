"""`python -m motions.evaluate`: how often the trained spotter is right on the test recordings, whole and as a stream.

The network runs whole streams in PyTorch; the exported file runs the same streams sample by sample in a pool.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

import rnnx_runtime
from motions.drawn_streams import Labels, Samples, drawn_stream
from motions.export import export_spotter
from motions.network import MotionSpotter
from motions.recordings import recordings

STREAMS, LENGTH, SEED = 40, 1_200, 7
SETTLED = 10
"""Samples after a change of motion that the second figure leaves out: 1 s."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Counts of test samples, and shares in percent."""

    samples: int
    right: float
    settled_samples: int
    right_settled: float
    recordings: int
    right_recordings: float
    """Recordings of 10 s whose motion most of their scores name."""
    right_in_a_stream: float
    """As `right`, of the ONNX file sample by sample."""
    largest_difference: float
    """Of a stream's scores from those of the network at once."""


def load(folder: Path) -> MotionSpotter:
    """The trained network of a model folder, in inference mode."""
    network = MotionSpotter()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def main() -> None:
    """Measure, write `quality.json` beside this file and print."""
    torch.set_num_threads(1)
    folder = Path(__file__).parent
    quality = measured(load(folder), folder)
    (folder / "quality.json").write_text(json.dumps(asdict(quality), indent=2) + "\n")
    print(json.dumps(asdict(quality), indent=2))


def measured(network: MotionSpotter, folder: Path) -> Quality:
    """Run all test streams and recordings."""
    known, chance = recordings("TEST"), np.random.default_rng(SEED)
    streams = [drawn_stream(known, LENGTH, chance) for _ in range(STREAMS)]
    samples, labels = np.stack([own for own, _ in streams]), np.stack([own for _, own in streams])
    with torch.no_grad():
        scores = network(torch.from_numpy(samples)).numpy()
        alone = [network(torch.from_numpy(own.samples[None])).argmax(-1).mode().values.item() for own in known]
    streamed = _streamed(folder, samples)
    right, settled = scores.argmax(-1) == labels, _settled(labels)
    return Quality(
        samples=int(right.size),
        right=100 * float(right.mean()),
        settled_samples=int(settled.sum()),
        right_settled=100 * float(right[settled].mean()),
        recordings=len(known),
        right_recordings=100 * float(np.mean([found == own.label for found, own in zip(alone, known, strict=True)])),
        right_in_a_stream=100 * float((streamed.argmax(-1) == labels).mean()),
        largest_difference=float(np.abs(streamed - scores).max()),
    )


def _settled(labels: Labels) -> NDArray[np.bool_]:
    """Which samples are no less than `SETTLED` behind the last change of motion."""
    same = np.ones_like(labels, bool)
    for back in range(1, SETTLED + 1):
        same[:, back:] &= labels[:, back:] == labels[:, :-back]
    same[:, :SETTLED] = False
    return same


def _streamed(folder: Path, samples: Samples) -> Samples:
    """The scores of the exported file, each stream's sample by sample in one pool."""
    with tempfile.TemporaryDirectory() as build:
        path = export_spotter(folder, Path(build))
        with rnnx_runtime.StreamPool(rnnx_runtime.load(path, "ort-cpu")) as pool:
            streams = [pool.open() for _ in samples]
            parts = [pool.push_many(streams, frames).outputs for frames in _by_sample(samples)]
            ends = [stream.flush() for stream in streams]
    rows = [np.concatenate([*(part[row] for part in parts), end]) for row, end in enumerate(ends)]
    return np.stack(rows)


def _by_sample(samples: Samples) -> Iterator[Samples]:
    yield from np.ascontiguousarray(samples.transpose(1, 0, 2))


if __name__ == "__main__":
    main()
