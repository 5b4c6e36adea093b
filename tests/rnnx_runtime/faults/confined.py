"""Faults read in a process of its own, where a crash shows and memory has an end.

`python -m tests.rnnx_runtime.faults.confined SPECIMENS SEED COUNT`, where SPECIMENS is a pickle of a list of them. Each
outcome is one line, so that the last line is the last fault that the process survived.
"""

import pickle
import resource
import sys
import tempfile
from pathlib import Path

from tests.rnnx_runtime.faults.campaign import outcomes

SPARE_ADDRESSES = 2**28
"""Bytes of address space beyond what the process has once it has read every sound file."""


def main(specimens: str, seed: str, count: str) -> None:
    """Read the faults, and fail if one of them is read otherwise than it must."""
    sound = pickle.loads(Path(specimens).read_bytes())
    with tempfile.TemporaryDirectory() as name:
        for folder in ("warm", "limited"):
            (Path(name) / folder).mkdir()
        list(outcomes(sound, Path(name) / "warm", 0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + SPARE_ADDRESSES, resource.RLIM_INFINITY))
        failed = 0
        for outcome in outcomes(sound, Path(name) / "limited", int(seed), int(count)):
            print(outcome, flush=True)
            failed += bool(outcome.failure)
    sys.exit(failed > 0)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main(*sys.argv[1:])
