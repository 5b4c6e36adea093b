"""`python -m g2p.greedy models/g2p-lstm`: what PyTorch's greedy decoding says of every test word, in `greedy.txt.gz`.

With it, a host without PyTorch can tell whether its decoding is the same. A line is a word and its phonemes' names.
"""

import gzip
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from g2p.dictionary import PHONEMES

NAME = "greedy.txt.gz"


def read_greedy(folder: Path) -> dict[str, tuple[int, ...]]:
    """The pronunciation of each test word, indices into `PHONEMES`."""
    index = {name: i for i, name in enumerate(PHONEMES)}
    lines = gzip.decompress((folder / NAME).read_bytes()).decode().splitlines()
    parts = (line.split(" ") for line in lines)
    return {word: tuple(index[name] for name in names if name) for word, *names in parts}


def greedy_bytes(spoken: Mapping[str, Iterable[int]]) -> bytes:
    """The file's content: the same pronunciations give the same bytes."""
    lines = (" ".join([word, *(PHONEMES[index] for index in row)]) + "\n" for word, row in sorted(spoken.items()))
    return gzip.compress("".join(lines).encode(), compresslevel=9, mtime=0)


def main() -> None:
    import torch

    from g2p.dictionary import entries
    from g2p.evaluate import load
    from g2p.scoring import pronunciations

    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    spoken = {entry.word: row for entry, row in pronunciations(load(folder), entries("test"))}
    (folder / NAME).write_bytes(greedy_bytes(spoken))
    print(f"{folder / NAME}: {len(spoken)} words")


if __name__ == "__main__":
    main()
