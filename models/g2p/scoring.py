"""Phoneme and word error rate of greedy pronunciations."""

from collections.abc import Iterator, Sequence

from g2p.batches import words_by_length
from g2p.dictionary import Entry
from g2p.error_rates import Score, error_rates
from g2p.network import Speller


def score(network: Speller, entries: Sequence[Entry], batch_size: int = 256) -> Score:
    """Score the network's greedy pronunciations of the entries."""
    return error_rates(pronunciations(network, entries, batch_size))


def pronunciations(
    network: Speller, entries: Sequence[Entry], batch_size: int = 256
) -> Iterator[tuple[Entry, tuple[int, ...]]]:
    """Each entry with the network's greedy pronunciation, words of equal length together."""
    network.eval()
    for group, letters in words_by_length(entries, batch_size):
        yield from zip(group, network.pronounce(letters), strict=True)
