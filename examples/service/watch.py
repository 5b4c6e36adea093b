"""A client that wears a watch: it sends recordings sample by sample, and prints what the service takes them for.

`PYTHONPATH=models:examples python -m service.watch ws://127.0.0.1:8000/stream` needs the recordings of the package aeon
(`pip install --no-deps aeon`).
"""

import json
import sys

import numpy as np
from websockets.sync.client import connect

from motions.drawn_streams import drawn_stream
from motions.recordings import MOTIONS, recordings

SECONDS, RATE = 60, 10


def main() -> None:
    """Send a minute of test recordings, and print each second's motion beside the true one."""
    address = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8000/stream"
    samples, labels = drawn_stream(recordings("TEST"), SECONDS * RATE, np.random.default_rng())
    parts = []
    with connect(address) as socket:
        for sample in samples:
            socket.send(sample.astype("<f4").tobytes())
            parts.append(np.frombuffer(socket.recv(decode=False), "<f4"))
        socket.send(json.dumps({"do": "flush"}))
        parts.append(np.frombuffer(socket.recv(decode=False), "<f4"))
    found = np.concatenate(parts).reshape(-1, len(MOTIONS)).argmax(-1)
    for second in range(SECONDS):
        at = (second + 1) * RATE - 1
        mark = "" if found[at] == labels[at] else "  <- wrong"
        print(f"{second + 1:3d} s  {MOTIONS[found[at]]:10s} (it is {MOTIONS[labels[at]]}){mark}")
    print(f"{100 * float((found == labels).mean()):.1f} % of {len(labels)} samples")


if __name__ == "__main__":
    main()
