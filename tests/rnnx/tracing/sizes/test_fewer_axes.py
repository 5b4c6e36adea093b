from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from torch import Tensor, nn

from rnnx.errors import BrokenExtraError, ExportError, FrozenDimError, UntracedError
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.sizes.fewer_axes import Choice, Free, fixed_note, input_lines, with_fewer_axes
from rnnx.tracing.sizes.moving_axes import AxisTrials

ALL = ((True, True, True),)
TAKEN = ((True, True, True),)
TENSORS = (torch.zeros(2, 9, 40),)
TRIALS = AxisTrials(taken=frozenset({(0, 0), (0, 1), (0, 2)}), moving={(0, 0): "B", (0, 1): "T"})
FEWER = ((True, True, False),)

UNTRACED = UntracedError("m", got="a", expected="b", remedy="c")


def _tried(attempt: Callable[[Free], Any], finish: Any = None, is_right: Any = None, named: Any = ()) -> Any:
    return with_fewer_axes(
        attempt,
        finish or (lambda found: found),
        is_right or (lambda found, fixed, moved: True),
        Choice(free=ALL, given=1, named=frozenset(named)),
        lambda: TRIALS,
        TENSORS,
        ["x"],
    )


def _failing(error: Exception) -> Callable[[Free], Free]:
    def attempt(free: Free) -> Free:
        if free == ALL:
            raise error
        return free

    return attempt


def test_a_first_try_that_works_is_the_only_one() -> None:
    assert _tried(lambda free: free) == (ALL, ALL, frozenset(), frozenset(), "")


@pytest.mark.parametrize(
    "error",
    [UNTRACED, BrokenExtraError(got="a", expected="b", extra="export", purpose="c")],
    ids=["untraced", "no-operator"],
)
def test_features_are_fixed_where_the_trace_or_torch_onnx_fails(error: Exception) -> None:
    assert _tried(_failing(error))[:4] == (FEWER, FEWER, frozenset({(0, 2)}), frozenset({(0, 2)}))


def test_features_are_fixed_where_values_differ() -> None:
    def finish(found: Free) -> Free:
        return _failing(ExportError("m", got="a", expected="b", remedy="c"))(found)

    assert _tried(lambda free: free, finish)[1] == FEWER


def test_a_fixed_axis_is_told_with_the_line_that_cannot_take_it_free(tmp_path: Any) -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(5, 8)

        def forward(self, x: Tensor, memory: Tensor) -> Tensor:
            places = torch.tensor(np.arange(memory.size(1)))
            weights = (torch.einsum("bd,btd->bt", self.cell(x), memory) + places).softmax(-1)
            return torch.einsum("bt,btd->bd", weights, memory)

    inputs = _inputs({"x": (2, 5), "memory": (2, 9, 8)})
    report = export_model(Positions().eval(), inputs, tmp_path / "m.onnx")
    assert report.contract.inputs[1].dims == ("B", 9, 8)
    (note,) = report.notes
    assert "np.arange(memory.size(1))" in note
    assert note.endswith("axis 1 of memory (9)")


def test_a_refusal_that_no_axis_cures_comes_at_once() -> None:
    with pytest.raises(FrozenDimError):
        _tried(_failing(FrozenDimError("m", got="a", expected="b", remedy="c")))


def test_a_try_that_is_not_right_serves_where_none_is() -> None:
    assert _tried(lambda free: free, is_right=lambda found, fixed, moved: False)[0] == ALL
    with pytest.raises(UntracedError):
        _tried(_failing(UNTRACED), is_right=lambda found, fixed, moved: False)


def test_a_refusal_shows_the_axes_to_name() -> None:
    def attempt(free: Free) -> Free:
        raise UNTRACED

    with pytest.raises(UntracedError, match=r"fix the axes that need not vary: --input x:float32:B=2,T=9,40"):
        _tried(attempt)
    with pytest.raises(UntracedError, match=r"; c$"):
        _tried(attempt, named=(0,))


def test_inputs_are_written_as_the_option_takes_them() -> None:
    tensors = (torch.zeros(2, 9, 4), torch.zeros(2, dtype=torch.int64))
    assert input_lines(["x", "lengths"], tensors, {}) == (
        "--input x:float32:B=2,T=9,4 --input lengths:int64:B=2 (dims={'x': ('B', 'T', None), 'lengths': ('B',)})"
    )
    moving = {(0, 0): "B", (0, 1): "B", (1, 0): "B"}
    assert input_lines(["x", "lengths"], tensors, moving) == (
        "--input x:float32:B=2,D1=9,4 --input lengths:int64:B=2 (dims={'x': ('B', 'D1', None), 'lengths': ('B',)})"
    )
    assert list(fixed_note([(0, 2)], ["x"], tensors, "")) == [
        "fixed at the example's sizes, for they cannot be free: axis 2 of x (4)"
    ]


class ChunkedStep(nn.Module):
    """A cell whose states come in one tensor, and features from one that is cut in four."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(7, 6)

    def forward(self, x: Tensor, parts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h, c = state.chunk(2, -1)
        h, c = self.cell(torch.cat([x, parts.chunk(4, -1)[2]], 1), (h, c))
        return h, torch.cat([h, c], -1)


class PooledHeight(nn.Module):
    """A recognizer that pools its image's height away."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d((1, None))
        self.lstm = nn.LSTM(4, 6, batch_first=True)

    def forward(self, image: Tensor) -> Any:
        return self.lstm(self.pool(self.conv(image)).squeeze(2).transpose(1, 2))[0]


class KernelOfHeight(nn.Module):
    """A keyword spotter whose kernel is as high as its features, squeezed away."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gru = nn.Conv2d(1, 4, (8, 3), padding=(0, 1)), nn.GRU(4, 6, batch_first=True)

    def forward(self, mel: Tensor) -> Any:
        return self.gru(self.conv(mel).squeeze(2).transpose(1, 2))[0]


class OneChannel(nn.Module):
    """A channel that nothing but `squeeze` fixes."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 6, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        return self.lstm(x.squeeze(1))[0]


class ResetStep(nn.Module):
    """An agent's step, whose states are reset by a flag for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRU(5, 6)

    def forward(self, x: Tensor, done: Tensor, h: Tensor) -> Any:
        return self.core(x, (1 - done).view(1, -1, 1) * h)


MODELS = {
    "chunks": (
        ChunkedStep,
        lambda b, t: {"x": (b, 4), "parts": (b, 12), "state": (b, 12)},
        [("B", 4), ("B", 12), ("B", 12)],
    ),
    "pooled": (PooledHeight, lambda b, t: {"image": (b, 1, 8, t)}, [("B", 1, "D1", "T")]),
    "kernel": (KernelOfHeight, lambda b, t: {"mel": (b, 1, 8, t)}, [("B", 1, 8, "T")]),
    "channel": (OneChannel, lambda b, t: {"x": (b, 1, t, 5)}, [("B", 1, "T", 5)]),
    "reset": (
        ResetStep,
        lambda b, t: {"x": (1, b, 5), "done": (1, b), "h": (1, b, 6)},
        [("T", "B", 5), (1, "B"), (1, "B", 6)],
    ),
}


def _inputs(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize(("make", "shapes", "dims"), MODELS.values(), ids=MODELS)
def test_batch_and_time_are_free_and_features_where_the_model_takes_it(
    make: Any, shapes: Any, dims: Any, tmp_path: Any
) -> None:
    module = make().eval()
    report: ExportReport = export_model(module, _inputs(shapes(2, 9)), tmp_path / "m.onnx", ModelOptions())
    assert [spec.dims for spec in report.contract.inputs] == dims
    for batch, time in ((1, 1), (3, 4)):
        inputs = _inputs(shapes(batch, time))
        found = onnx_outputs(report.path, {name: np.asarray(value) for name, value in inputs.items()})
        assert_as_close(list(found.values()), module, inputs, f"B={batch}, T={time}")


def test_a_frozen_batch_is_refused_where_features_cannot_be_free(tmp_path: Any) -> None:
    class Frozen(ChunkedStep):
        def forward(self, x: Tensor, parts: Tensor, state: Tensor) -> Any:
            return super().forward(x.view(2, 4), parts, state)

    inputs = _inputs({"x": (2, 4), "parts": (2, 12), "state": (2, 12)})
    with pytest.raises((FrozenDimError, BrokenExtraError)):
        export_model(Frozen().eval(), inputs, tmp_path / "m.onnx", ModelOptions())
    assert not list(tmp_path.iterdir())
