import threading
from collections.abc import Callable

import pytest
import torch
from tests.rnnx.tracing.small_models import sequence
from torch.nn.utils import rnn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnx.errors import ExportError
from rnnx.tracing.packing import CUT_NOTE, rows_of, traced_packing


@pytest.mark.parametrize("batch_first", [False, True], ids=["time-first", "batch-first"])
@pytest.mark.parametrize("turned", [False, True], ids=["same-layout", "other-layout"])
@pytest.mark.parametrize("total", [None, 7, 9], ids=["no-length", "own-length", "longer"])
def test_padding_again_gives_what_pytorch_gives(batch_first: bool, turned: bool, total: int | None) -> None:
    x, lengths = sequence(4, 7), torch.tensor([2, 5, 1, 3])
    x = x if batch_first else x.transpose(0, 1)

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
        return pad_packed_sequence(packed, batch_first != turned, padding_value=-1.5, total_length=total)

    expected = call()
    with traced_packing() as packing:
        found = call()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    assert packing.notes == ([CUT_NOTE] if total is None else [])


def test_rows_that_were_replaced_stand_in_the_padded_tensor() -> None:
    with traced_packing():
        packed = pack_padded_sequence(sequence(2, 3), torch.tensor([3, 1]), batch_first=True)
        rows = rows_of(PackedSequence(packed.data * 2, packed.batch_sizes))
    assert torch.equal(rows.padded, sequence(2, 3) * 2)
    assert rows.lengths.tolist() == [3, 1]


@pytest.mark.parametrize("use", ["values", "len", "loop", "attribute"])
def test_batch_sizes_have_no_values_in_a_trace(use: str) -> None:
    with traced_packing():
        sizes = pack_padded_sequence(sequence(2, 3), torch.tensor([3, 1]), batch_first=True).batch_sizes
    calls: dict[str, Callable[[], object]] = {
        "values": lambda: sizes[0],
        "len": lambda: len(sizes),
        "loop": lambda: list(sizes),
        "attribute": lambda: sizes.sum,
    }
    with pytest.raises(ExportError, match=r"use the lengths tensor"):
        calls[use]()


def test_other_threads_and_later_calls_have_pytorchs_own() -> None:
    found: list[bool] = []

    def pack() -> None:
        packed = rnn.pack_padded_sequence(sequence(2, 3), torch.tensor([3, 1]), batch_first=True)
        found.append(isinstance(packed.batch_sizes, torch.Tensor))

    with traced_packing():
        thread = threading.Thread(target=pack)
        thread.start()
        thread.join()
        pack()
    pack()
    assert found == [True, False, True]
