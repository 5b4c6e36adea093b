"""Batches of words that have the same number of letters, so that the encoder never sees padding."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from g2p.dictionary import END, PAD, START, Entry

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Letters `(T, B)`, decoder inputs `(N, B)` that begin with `START`, targets `(N, B)` that close with `END`."""

    letters: Tensor
    inputs: Tensor
    targets: Tensor


def training_batches(entries: Iterable[Entry], size: int, seed: int) -> list[Batch]:
    """Every (word, pronunciation) pair once, in an order drawn from the seed."""
    pairs = [(entry.letters, spoken) for entry in entries for spoken in entry.pronunciations]
    chance = random.Random(seed)
    chance.shuffle(pairs)
    batches = [_batch(group) for group in _by_length(pairs, size)]
    chance.shuffle(batches)
    return batches


def words_by_length(entries: Iterable[Entry], size: int) -> Iterator[tuple[list[Entry], Tensor]]:
    """Entries in groups of equal length with their letters `(T, B)`."""
    for group in _by_length([(entry.letters, entry) for entry in entries], size):
        yield [entry for _, entry in group], torch.tensor([letters for letters, _ in group]).T


def _by_length(pairs: list[tuple[tuple[int, ...], Item]], size: int) -> Iterator[list[tuple[tuple[int, ...], Item]]]:
    groups: dict[int, list[tuple[tuple[int, ...], Item]]] = defaultdict(list)
    for pair in pairs:
        groups[len(pair[0])].append(pair)
    for group in groups.values():
        yield from (group[i : i + size] for i in range(0, len(group), size))


def _batch(group: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> Batch:
    steps = 1 + max(len(spoken) for _, spoken in group)
    inputs = torch.full((len(group), steps), PAD)
    targets = torch.full((len(group), steps), PAD)
    for row, (_, spoken) in enumerate(group):
        inputs[row, : len(spoken) + 1] = torch.tensor((START, *spoken))
        targets[row, : len(spoken) + 1] = torch.tensor((*spoken, END))
    return Batch(letters=torch.tensor([letters for letters, _ in group]).T, inputs=inputs.T, targets=targets.T)
