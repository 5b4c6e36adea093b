"""A client of the service: `python -m service.spell python tensor` prints how words are pronounced.

The recurrences run in the service: the letters at once through `/run`, the phonemes one by one through `/stream`, whose
cell starts from the encoder's last state. Embeddings, attention and head are here in NumPy, as in g2p/network.py.
"""

import argparse
import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from websockets.sync.client import ClientConnection, connect

from g2p.dictionary import END, LETTERS, PHONEMES, START

Array = NDArray[Any]

CHECKPOINT = Path(__file__).parents[2] / "models" / "g2p-lstm" / "model.safetensors"
MAX_PHONEMES = 32


def main() -> None:
    """Pronounce the words of the command line."""
    parser = argparse.ArgumentParser(description="pronounce words with a running service")
    parser.add_argument("--address", default="127.0.0.1:8000")
    parser.add_argument("words", nargs="+")
    arguments = parser.parse_args()
    for word in arguments.words:
        if not set(word.lower()) <= set(LETTERS):
            parser.error(f"{word!r} has other letters than a–z and the apostrophe")
    weights = load_file(CHECKPOINT)
    for word in arguments.words:
        print(word, *pronounce(word, arguments.address, weights))


def pronounce(word: str, address: str, weights: dict[str, Array]) -> list[str]:
    """The phonemes of a word of the letters a–z and the apostrophe."""
    letters = weights["letters.weight"][[LETTERS.index(letter) for letter in word.lower()]]
    encoded = _encode(letters, address)
    memory = np.array(encoded["outputs"][0], np.float32)
    # The last layer's forward and backward states, side by side, are the decoder's first state.
    start = {part: [value for half in encoded[part][0][-2:] for value in half] for part in ("h", "c")}
    with connect(f"ws://{address}/stream") as socket:
        socket.send(json.dumps({"do": "reset", **start}))
        socket.recv()
        return _spoken(socket, memory, weights)


def _encode(letters: Array, address: str) -> dict[str, Any]:
    """The encoder's answer for one sequence `(T, I)`."""
    body = json.dumps({"sequences": [letters.tolist()]}).encode()
    with urlopen(Request(f"http://{address}/run", body, {"Content-Type": "application/json"})) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _spoken(socket: ClientConnection, memory: Array, weights: dict[str, Array]) -> list[str]:
    phonemes: list[str] = []
    previous = START
    while len(phonemes) < MAX_PHONEMES:
        socket.send(weights["phonemes.weight"][previous].tobytes())
        output = np.frombuffer(socket.recv(decode=False), "<f4")
        previous = int(_scores(output, memory, weights).argmax())
        if previous == END:
            break
        phonemes.append(PHONEMES[previous])
    return phonemes


def _scores(output: Array, memory: Array, weights: dict[str, Array]) -> Array:
    """Scores of the phonemes after the cell's output `(2H,)`, attending to memory `(T, 2H)`."""
    attention = memory @ (weights["query.weight"] @ output)
    attention = np.exp(attention - attention.max())
    context = (attention / attention.sum()) @ memory
    combined = np.tanh(weights["combine.weight"] @ np.concatenate([context, output]) + weights["combine.bias"])
    scores: Array = weights["head.weight"] @ combined + weights["head.bias"]
    return scores


if __name__ == "__main__":
    main()
