"""Whether rows and padding are found to go into other rows, on models that do it in every way people do."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnx
from rnnx.truths.model_golden import read_model_golden
from rnnx_runtime.contract import Batching

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


class _Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blur = nn.Conv1d(5, 5, 3, padding=1)
        self.gru = nn.GRU(5, 6, batch_first=True)
        self.embedding = nn.Embedding(11, 5)
        self.place = nn.Parameter(torch.randn(64, 1, 1))

    def packed(self, x: Tensor, lengths: Tensor, *, sort: bool = False) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=sort)
        output: Tensor = pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0]
        return output


def _of(call: Any) -> nn.Module:
    model: nn.Module = type("Model", (_Base,), {"forward": call})()
    return model.eval()


def _plain(self: Any, x: Tensor) -> Tensor:
    output: Tensor = self.gru(x)[0]
    return output


def _packed(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.packed(x, lengths)
    return output


def _packed_sorted(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.packed(x, lengths, sort=True)
    return output


def _packed_by_parts(self: Any, x: Tensor, parts: Tensor) -> Tensor:
    output: Tensor = self.packed(x, (parts * x.size(1)).round().long())
    return output


def _masked_mean(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output = self.packed(x, lengths)
    result: Tensor = output.sum(1) / lengths.unsqueeze(-1)
    return result


def _blurred(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.packed(self.blur(x.mT).mT, lengths)
    return output


def _counted(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.packed(x, lengths)
    return output + (x != 0).any(2).float().sum(1)[:, None, None]


def _less_the_mean(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.gru(x - x.mean(0, keepdim=True))[0]
    return result


def _scaled_by_the_loudest(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.gru(x / (1 + x.abs().max()))[0]
    return result


def _packed_less_the_first(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.packed(x - x[:1], lengths)
    return output


def _packed_by_place(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.packed(x + self.place[: x.size(0)], lengths)
    return output


def _over_the_longest(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.packed(x, lengths).mean(1)
    return output


def _with_a_mask(self: Any, x: Tensor) -> Tensor:
    output = self.gru(x - 0.5 * x.mean(0, keepdim=True))[0]
    return torch.cat([output, torch.full_like(output[..., :1], -1e9)], -1)


def _flattened(self: Any, x: Tensor) -> Tensor:
    output: Tensor = self.gru(x)[0].reshape(-1, 6)
    return output


def _squeezed(self: Any, x: Tensor) -> Tensor:
    output: Tensor = self.gru(x)[1].squeeze()
    return output


def _tokens_less_the_mean(self: Any, tokens: Tensor) -> Tensor:
    x = self.embedding(tokens)
    output: Tensor = self.gru(x - x.mean(0, keepdim=True))[0]
    return output


def _tokens_blurred(self: Any, tokens: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.packed(self.blur(self.embedding(tokens).mT).mT, lengths)
    return output


def _by_place(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.gru(x + self.place[: x.size(0)])[0]
    return result


TOKENS = torch.zeros(2, 7, dtype=torch.int64)
X, LENGTHS = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(1)), torch.tensor([7, 4])
PARTS = LENGTHS / 7

KINDS: dict[str, tuple[Any, tuple[Tensor, ...], Batching | tuple[str, str, str]]] = {
    "plain": (_plain, (X,), Batching()),
    "packed": (_packed, (X, LENGTHS), Batching()),
    "packed-sorted": (_packed_sorted, (X, LENGTHS), Batching()),
    "packed-by-parts": (_packed_by_parts, (X, PARTS), Batching()),
    "mean-of-the-live": (_masked_mean, (X, LENGTHS), Batching()),
    "convolution-before-packing": (_blurred, (X, LENGTHS), ("independent", "read", "where the padding is zeros")),
    "frames-that-are-not-zero-counted": (
        _counted,
        (X, LENGTHS),
        ("independent", "read", "where the padding is zeros"),
    ),
    "less-the-mean": (_less_the_mean, (X,), ("coupled", "ignored", "of a row differs beside fewer rows")),
    "loudest-scales": (_scaled_by_the_loudest, (X,), ("coupled", "ignored", "of a row differs")),
    "packed-less-the-first": (_packed_less_the_first, (X, LENGTHS), ("coupled", "unknown", "of a row differs")),
    "packed-by-place": (_packed_by_place, (X, LENGTHS), ("coupled", "unknown", "of a row differs")),
    "over-the-longest": (_over_the_longest, (X, LENGTHS), ("coupled", "unknown", "beside fewer rows")),
    "beside-a-mask-of-huge-values": (_with_a_mask, (X,), ("coupled", "ignored", "of a row differs")),
    "flattened": (_flattened, (X,), ("unknown", "ignored", "has no axis B to tell rows by")),
    "squeezed": (_squeezed, (X,), Batching()),
    "one-token-less-the-mean": (_tokens_less_the_mean, (TOKENS,), ("coupled", "ignored", "of a row differs")),
    "one-token-blurred": (_tokens_blurred, (TOKENS, LENGTHS), ("independent", "read", "where the padding is")),
    "by-place": (_by_place, (X,), ("coupled", "ignored", "of a row differs")),
}


@pytest.mark.parametrize(("call", "example", "expected"), KINDS.values(), ids=KINDS)
def test_what_goes_into_a_row_is_found(call: Any, example: Any, expected: Any, tmp_path: Path) -> None:
    torch.manual_seed(20701)
    found = rnnx.export(_of(call), tmp_path / "model.onnx", example_inputs=example).contract.batching
    if isinstance(expected, Batching):
        assert found == expected
        return
    assert (found.rows, found.padding) == expected[:2]
    assert expected[2] in found.reason


@pytest.mark.parametrize("call", [_packed, _packed_sorted, _blurred], ids=["packed", "packed-sorted", "convolution"])
def test_checks_hold_beside_the_module(call: Any, tmp_path: Path) -> None:
    torch.manual_seed(20702)
    module, path = _of(call), tmp_path / "model.onnx"
    rnnx.export(module, path, example_inputs=(X, LENGTHS))
    options = rnnx.VerifyOptions(model=module, latency=False, backends=("pytorch-cpu", "ort-cpu"))
    report = rnnx.verify(path, options)
    assert report
    found = {check.check: check.status for check in report.checks if check.backend == "ort-cpu"}
    assert found["padding"] == ("skip" if call is _blurred else "pass")
    assert found["zero-length"] == "pass"
    assert {found[name] for name in ("batch-order", "batch-mates", "batch-split")} == {"pass"}


def test_lengths_as_parts_of_the_whole_are_drawn_as_such(tmp_path: Path) -> None:
    torch.manual_seed(20704)
    module, path = _of(_packed_by_parts), tmp_path / "model.onnx"
    report = rnnx.export(module, path, example_inputs=(X, PARTS))
    assert read_model_golden(report.golden, report.contract).left_out == ()
    verified = rnnx.verify(path, rnnx.VerifyOptions(model=module, latency=False, backends=("ort-cpu",)))
    assert verified
    found = {check.check: check.status for check in verified.checks}
    assert {found[name] for name in ("batch-order", "batch-mates", "batch-split")} == {"pass"}


def _table_of_lengths(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.packed(x.flatten(0, 1), lengths.flatten())
    return output


def test_a_table_of_lengths_is_an_input_like_any_other(tmp_path: Path) -> None:
    torch.manual_seed(20703)
    example = (torch.randn(2, 3, 7, 5), torch.tensor([[7, 4, 2], [3, 7, 1]]))
    contract = rnnx.export(_of(_table_of_lengths), tmp_path / "model.onnx", example_inputs=example).contract
    assert contract.lengths == ()
    assert [spec.name for spec in contract.plain_inputs] == ["x", "lengths"]
