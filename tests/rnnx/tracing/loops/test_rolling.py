from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from tests.rnnx.tracing.loops.loop_models import (
    ConvLSTM,
    FedByEachOther,
    FirstFrame,
    GrowingList,
    GrowingState,
    LayerFrameByFrame,
    LayerNormLSTM,
    LayersInTime,
    OperatorScan,
    OperatorWhile,
    TeacherForced,
    TwoDirections,
    TwoLengths,
    UntilLarge,
    WritesItsBuffer,
    Written,
)
from torch import Tensor, nn

from rnnx.errors import ExportError
from rnnx.tracing.exporting import export_model
from rnnx_runtime.contract import StatePair

SEQUENCE, STATE = ("B", "T", 5), ("B", 8)

LOOPS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "layer-norm-lstm": (LayerNormLSTM, {"x": SEQUENCE, "h": STATE, "c": STATE}),
    "conv-lstm": (ConvLSTM, {"clip": ("B", "T", 1, 9, 9)}),
    "two-directions": (TwoDirections, {"x": SEQUENCE}),
    "layers-in-time": (LayersInTime, {"x": SEQUENCE}),
    "layer-frame-by-frame": (LayerFrameByFrame, {"x": SEQUENCE, "done": ("B", "T")}),
    "written": (Written, {"x": SEQUENCE}),
    "first-frame": (FirstFrame, {"x": SEQUENCE}),
    "teacher-forced": (TeacherForced, {"x": SEQUENCE, "memory": ("B", 3, 8)}),
    "two-lengths": (TwoLengths, {"x": SEQUENCE, "y": ("B", 6, 5)}),
    "torch-scan": (OperatorScan, {"x": SEQUENCE}),
}


@pytest.mark.parametrize(("kind", "dims"), LOOPS.values(), ids=LOOPS)
def test_a_loop_over_time_is_a_graph_of_any_length(kind: type[nn.Module], dims: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, path = kind().eval(), tmp_path / "loop.onnx"
    export_model(module, _inputs(dims, 3, 9), path)
    for batch, time in ((1, 1), (2, 7), (3, 50)):
        inputs = _inputs(dims, batch, time)
        outputs = onnx_outputs(path, {name: own.numpy() for name, own in inputs.items()})
        assert_as_close(list(outputs.values()), module, inputs, f"B{batch} T{time}")
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert 1 <= sum(kinds.count(own) for own in ("Scan", "LSTM", "GRU")) <= 2


@pytest.mark.parametrize("case", ["first-frame", "conv-lstm"])
def test_a_long_example_gives_the_graph_of_a_short_one(case: str, tmp_path: Path) -> None:
    """Also beside an axis that is longer than a traced loop and that the model wants so."""
    torch.manual_seed(0)
    kind, dims = LOOPS[case]
    module = kind().eval()
    for time in (8, 100):
        export_model(module, _inputs(dims, 3, time), tmp_path / f"t{time}.onnx")
    short, long = (onnx.load(tmp_path / f"t{time}.onnx") for time in (8, 100))
    assert [node.op_type for node in short.graph.node] == [node.op_type for node in long.graph.node]


def test_carried_values_that_are_arguments_are_the_models_states(tmp_path: Path) -> None:
    dims = {"x": SEQUENCE, "h": STATE, "c": STATE}
    report = export_model(LayerNormLSTM().eval(), _inputs(dims, 3, 9), tmp_path / "states.onnx")
    assert report.contract.states == (
        StatePair(input="h", output="output_1"),
        StatePair(input="c", output="output_2"),
    )
    assert report.contract.streaming.kind == "exact"
    assert report.contract.inputs[0].dims == SEQUENCE


REFUSED = {
    "growing-list": (GrowingList, "a step that changes the shape of what it computes", "range(x.size(1))"),
    "growing-state": (GrowingState, "a step that changes the shape of what it computes", "range(x.size(1))"),
    "until-large": (UntilLarge, "depends on the values", "while t < x.size(1)"),
    "torch-while-loop": (OperatorWhile, "depends on the values", "return loop("),
    "fed-by-each-other": (FedByEachOther, "steps that differ from one another", "range(x.size(1))"),
    "writes-its-buffer": (WritesItsBuffer, "a tensor that forward changes and reads in the next call", ".memory"),
}


@pytest.mark.parametrize(("kind", "reason", "code"), REFUSED.values(), ids=REFUSED)
def test_a_loop_that_is_no_scan_is_refused_with_its_line(
    kind: type[nn.Module], reason: str, code: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError) as refused:
        export_model(kind().eval(), _inputs({"x": SEQUENCE}, 3, 9), tmp_path / "loop.onnx")
    assert reason in str(refused.value)
    assert code in str(refused.value)
    assert not list(tmp_path.iterdir())


def _inputs(dims: Mapping[str, Sequence[Any]], batch: int, time: int) -> dict[str, Tensor]:
    sizes = {"B": batch, "T": time}
    chance = torch.Generator().manual_seed(100 * batch + time)
    return {name: torch.randn([sizes.get(own, own) for own in shape], generator=chance) for name, shape in dims.items()}
