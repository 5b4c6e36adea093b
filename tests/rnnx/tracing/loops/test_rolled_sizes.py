"""What stands around a rolled loop and has a size of its own: pooling, and numbers made of the loop's length."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from torch import Tensor, nn
from torch.nn import functional

from rnnx.errors import ExportError, FrozenDimError
from rnnx.graphs.value_checks import ValuesDifferError
from rnnx.tracing.exporting import export_model


class _Looped(nn.Module):
    """A cell over the steps of what `before` gives, and `after` of its results `(B, T, 8)`."""

    def __init__(
        self, before: Callable[[Tensor], Tensor] = lambda x: x, after: Callable[[Tensor], Tensor] = lambda x: x
    ) -> None:
        super().__init__()
        self.cell, self.before, self.after = nn.GRUCell(5, 8), before, after

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        h, outputs = x.new_zeros(x.size(0), 8), []
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
            outputs.append(h)
        return self.after(torch.stack(outputs, 1))


@pytest.mark.parametrize(
    "after",
    [
        lambda x: functional.adaptive_avg_pool1d(x.mT, 4),
        lambda x: functional.max_pool1d(x.mT, 2, ceil_mode=True),
    ],
    ids=["adaptive-avg", "max"],
)
def test_pooling_behind_a_loop_is_of_any_length(after: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    module, path = _Looped(after=after).eval(), tmp_path / "m.onnx"
    export_model(module, {"x": torch.randn(2, 9, 5)}, path)
    for time in (3, 7, 23):
        inputs = {"x": torch.randn(3, time, 5)}
        assert_as_close(list(onnx_outputs(path, {"x": inputs["x"].numpy()}).values()), module, inputs, f"T={time}")


def test_a_number_that_stands_still_at_great_lengths_is_found(tmp_path: Path) -> None:
    module = _Looped(after=lambda x: x.topk(min(50, x.size(1)), 1).values).eval()
    with pytest.raises(ValuesDifferError, match=r"T70 .*int\(\), //"):
        export_model(module, {"x": torch.randn(2, 5, 5)}, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


class _TwoNames(nn.Module):
    """One projection under two names, before the loop and after it, and one parameter likewise."""

    def __init__(self) -> None:
        super().__init__()
        self.entry, self.cell = nn.Linear(5, 5), nn.GRUCell(5, 5)
        self.head = self.entry
        self.shift = nn.Parameter(torch.rand(5))
        self.scale = self.shift

    def forward(self, x: Tensor) -> Tensor:
        x, outputs = self.entry(x) + self.shift, []
        h = torch.zeros_like(x[:, 0])
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
            outputs.append(h)
        result: Tensor = self.head(torch.stack(outputs, 1)) * self.scale
        return result


def test_a_module_or_parameter_of_two_names_is_found_by_both(tmp_path: Path) -> None:
    module, path = _TwoNames().eval(), tmp_path / "m.onnx"
    export_model(module, {"x": torch.randn(2, 9, 5)}, path)
    inputs = {"x": torch.randn(3, 5, 5)}
    assert_as_close(list(onnx_outputs(path, {"x": inputs["x"].numpy()}).values()), module, inputs, "shared")


class _HalvedWhereOdd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.size(1) % 2:
            x = x / 2
        return x


def test_a_branch_on_the_length_behind_a_loop_is_told_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"does at one length and not at another: .*x = x / 2"):
        export_model(_Looped(after=_HalvedWhereOdd()).eval(), {"x": torch.randn(2, 9, 5)}, tmp_path / "m.onnx")


class _Steps(nn.Module):
    """A cell over what `frames` takes of a sequence, one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        h, outputs = x.new_zeros(x.size(0), 8), list[Tensor]()
        for frame in self.frames(x):
            h = self.cell(frame, h)
            outputs.append(h)
        return torch.stack(outputs, 1)

    def frames(self, x: Tensor) -> Iterator[Tensor]:
        raise NotImplementedError


class _FirstHalf(_Steps):
    def frames(self, x: Tensor) -> Iterator[Tensor]:
        for t in range(x.size(1) // 2):
            yield x[:, t]


class _EverySecond(_Steps):
    def frames(self, x: Tensor) -> Iterator[Tensor]:
        for t in range(0, x.size(1), 2):
            yield x[:, t]


class _SlidingWindows(_Steps):
    def frames(self, x: Tensor) -> Iterator[Tensor]:
        for t in range(x.size(1) - 2):
            yield x[:, t : t + 3].mean(1)


class _PairsOfSteps(_Steps):
    def frames(self, x: Tensor) -> Iterator[Tensor]:
        for t in range(x.size(1) // 2):
            yield x[:, 2 * t : 2 * t + 2].mean(1)


PARTS: dict[str, tuple[nn.Module, str, int]] = {
    "every-second": (_Looped(lambda x: x[:, ::2]), "((T + 1)//2)", 1),
    "multiple-of-four": (_Looped(lambda x: functional.pad(x, (0, 0, 0, -x.size(1) % 4))), "T + (Mod(-T, 4))", 1),
    "first-half": (_FirstHalf(), "(T//2)", 2),
    "range-by-two": (_EverySecond(), "((T + 1)//2)", 1),
    "sliding-windows": (_SlidingWindows(), "T - 2", 3),
    "pairs-of-steps": (_PairsOfSteps(), "(T//2)", 2),
}


@pytest.mark.parametrize(("module", "steps", "shortest"), PARTS.values(), ids=PARTS)
def test_a_loop_over_steps_made_of_an_axis_is_of_any_length(
    module: nn.Module, steps: str, shortest: int, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    contract = export_model(module.eval(), {"x": torch.randn(2, 9, 5)}, path).contract
    assert contract.outputs[0].dims == ("B", steps, 8)
    for time in (shortest, 7, 8, 50):
        inputs = {"x": torch.randn(3, time, 5)}
        assert_as_close(list(onnx_outputs(path, {"x": inputs["x"].numpy()}).values()), module, inputs, f"T={time}")


@pytest.mark.parametrize(
    "after",
    [lambda x: x * 2 if x.size(1) > 30 else x, lambda x: x.topk(min(50, x.size(1)), 1).values],
    ids=["branch", "number"],
)
def test_what_differs_at_great_lengths_is_found_beside_such_a_loop(
    after: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    module = _Looped(lambda x: x[:, ::2], after).eval()
    with pytest.raises(ExportError):
        export_model(module, {"x": torch.randn(2, 9, 5)}, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_loop_over_steps_that_no_rule_gives_is_refused_with_its_line(tmp_path: Path) -> None:
    module = _Looped(lambda x: x[:, : int(x.size(1) ** 0.5)]).eval()
    with pytest.raises(FrozenDimError) as refused:
        export_model(module, {"x": torch.randn(2, 9, 5)}, tmp_path / "m.onnx")
    assert "for t in range(x.size(1))" in refused.value.got
    assert "not the axis' 9 but made of them" in refused.value.got
    assert isinstance(refused.value, ExportError)
    assert not list(tmp_path.iterdir())
