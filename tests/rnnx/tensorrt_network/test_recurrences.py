"""Loops, scans, conditionals and recurrent nodes of graphs that rnnx did not write, against ONNX Runtime."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from rnnx_runtime.errors import BackendError

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

Array = NDArray[Any]
Outputs = Callable[[ModelProto, Mapping[str, Array]], dict[str, Array]]
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

_CHANCE = np.random.default_rng(5)


def _normal(*shape: int) -> Array:
    return _CHANCE.standard_normal(shape, np.float32)


def _value(name: str, kind: int, dims: Sequence[int | str] | None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def _graph(
    nodes: Sequence[NodeProto], inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto], **weights: Array
) -> GraphProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return helper.make_graph(list(nodes), "g", list(inputs), list(outputs), tensors)


def _model(graph: GraphProto) -> ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _check(outputs: Outputs, model: ModelProto, feeds: Mapping[str, Array], *, atol: float = 1e-6) -> None:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    got = outputs(model, feeds)
    assert got.keys() == set(names)
    for name, expected in zip(names, session.run(names, dict(feeds)), strict=True):
        assert (got[name].shape, got[name].dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(got[name], expected, atol=atol)


def _elman_body() -> GraphProto:
    """One step of `h = tanh(x · W + h · R)`, which gives h twice: to the next step and to the outside."""
    nodes = [
        helper.make_node("MatMul", ["x_t", "W"], ["from_x"]),
        helper.make_node("MatMul", ["h", "R"], ["from_h"]),
        helper.make_node("Add", ["from_x", "from_h"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["h_next"]),
        helper.make_node("Identity", ["h_next"], ["y_t"]),
    ]
    inputs = [_value("h", FLOAT, ["B", 4]), _value("x_t", FLOAT, ["B", 3])]
    return _graph(nodes, inputs, [_value("h_next", FLOAT, ["B", 4]), _value("y_t", FLOAT, ["B", 4])])


def _scan(**attributes: Any) -> ModelProto:
    node = helper.make_node("Scan", ["h0", "x"], ["hn", "y"], body=_elman_body(), num_scan_inputs=1, **attributes)
    return _model(
        _graph(
            [node],
            [_value("h0", FLOAT, ["B", 4]), _value("x", FLOAT, ["T", "B", 3])],
            [_value("hn", FLOAT, None), _value("y", FLOAT, None)],
            W=_normal(3, 4),
            R=_normal(4, 4),
        )
    )


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("backwards", ["neither", "inputs", "outputs", "both"])
def test_a_scan_runs_either_way(backwards: str, steps: int, imported_outputs: Outputs) -> None:
    attributes = {f"scan_{role[:-1]}_directions": [1] for role in ("inputs", "outputs") if backwards in (role, "both")}
    feeds = {"h0": _normal(2, 4), "x": _normal(steps, 2, 3)}
    _check(imported_outputs, _scan(**attributes), feeds)


def test_a_scan_goes_along_another_axis(imported_outputs: Outputs) -> None:
    body = _graph(
        [helper.make_node("Add", ["h", "x_t"], ["h_next"]), helper.make_node("Neg", ["h_next"], ["y_t"])],
        [_value("h", FLOAT, [2]), _value("x_t", FLOAT, [2])],
        [_value("h_next", FLOAT, [2]), _value("y_t", FLOAT, [2])],
    )
    node = helper.make_node(
        "Scan", ["h0", "x"], ["hn", "y"], body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1]
    )
    inputs = [_value("h0", FLOAT, [2]), _value("x", FLOAT, [2, "T"])]
    model = _model(_graph([node], inputs, [_value("hn", FLOAT, None), _value("y", FLOAT, None)]))
    _check(imported_outputs, model, {"h0": _normal(2), "x": _normal(2, 5)})


def _loop(limit: float) -> ModelProto:
    """At most M steps of `total = total + step`, as long as its sum is less than a limit."""
    body = _graph(
        [
            helper.make_node("Cast", ["i"], ["step"], to=FLOAT),
            helper.make_node("Add", ["total", "step"], ["total_next"]),
            helper.make_node("ReduceSum", ["total_next"], ["sum"], keepdims=0),
            helper.make_node("Less", ["sum", "limit"], ["go_on"]),
            helper.make_node("Identity", ["total_next"], ["y_t"]),
        ],
        [_value("i", INT64, []), _value("go", BOOL, []), _value("total", FLOAT, [2])],
        [_value("go_on", BOOL, []), _value("total_next", FLOAT, [2]), _value("y_t", FLOAT, [2])],
    )
    node = helper.make_node("Loop", ["M", "start", "x"], ["last", "y"], body=body)
    return _model(
        _graph(
            [node],
            [_value("M", INT64, []), _value("x", FLOAT, [2])],
            [_value("last", FLOAT, None), _value("y", FLOAT, None)],
            start=np.array(True),
            limit=np.array(limit, np.float32),
        )
    )


@pytest.mark.parametrize("steps", [1, 4])
def test_a_loop_runs_up_to_its_trip_limit(steps: int, imported_outputs: Outputs) -> None:
    _check(imported_outputs, _loop(1e9), {"M": np.array(steps), "x": _normal(2)})


def test_a_loop_ends_when_its_condition_does(imported_outputs: Outputs) -> None:
    model = _loop(5)
    del model.graph.output[1]
    _check(imported_outputs, model, {"M": np.array(100), "x": np.zeros(2, np.float32)})


def test_outputs_that_an_early_end_leaves_undefined_are_refused(imported_outputs: Outputs) -> None:
    with pytest.raises(BackendError, match=r"LOOP_OUTPUT: got values of 3 steps, expected 100"):
        imported_outputs(_loop(5), {"M": np.array(100), "x": np.zeros(2, np.float32)})


def test_a_loop_runs_inside_a_loop(imported_outputs: Outputs) -> None:
    inner = _graph(
        [helper.make_node("Add", ["a", "outer_total"], ["a_next"]), helper.make_node("Identity", ["ago"], ["ago_on"])],
        [_value("j", INT64, []), _value("ago", BOOL, []), _value("a", FLOAT, [2])],
        [_value("ago_on", BOOL, []), _value("a_next", FLOAT, [2])],
    )
    outer = _graph(
        [
            helper.make_node("Mul", ["total", "half"], ["outer_total"]),
            helper.make_node("Loop", ["inner_M", "true", "outer_total"], ["inner_last"], body=inner),
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Neg", ["inner_last"], ["y_t"]),
        ],
        [_value("i", INT64, []), _value("go", BOOL, []), _value("total", FLOAT, [2])],
        [_value("go_on", BOOL, []), _value("inner_last", FLOAT, [2]), _value("y_t", FLOAT, [2])],
    )
    node = helper.make_node("Loop", ["M", "true", "x"], ["last", "y"], body=outer)
    model = _model(
        _graph(
            [node],
            [_value("M", INT64, []), _value("x", FLOAT, [2])],
            [_value("last", FLOAT, None), _value("y", FLOAT, None)],
            half=np.array(0.5, np.float32),
            inner_M=np.array(3),
            true=np.array(True),
        )
    )
    _check(imported_outputs, model, {"M": np.array(4), "x": _normal(2)})


def _branch(op: str, weight: str) -> GraphProto:
    nodes = [helper.make_node(op, ["x", weight], ["inner"]), helper.make_node("Neg", ["inner"], ["result"])]
    return _graph(nodes, [], [_value("result", FLOAT, None)])


@pytest.mark.parametrize("shift", [-5, 5], ids=["false", "true"])
def test_a_conditional_runs_the_branch_of_its_condition(shift: float, imported_outputs: Outputs) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=_branch("Add", "k"), else_branch=_branch("Mul", "k")),
    ]
    graph = _graph(
        nodes, [_value("x", FLOAT, ["B", 4])], [_value("y", FLOAT, None)], zero=np.array(0, np.float32), k=_normal(4)
    )
    _check(imported_outputs, _model(graph), {"x": _normal(2, 4) + np.float32(shift)})


GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def _recurrent(op: str, direction: str, *, lengths: bool, state: bool, **attributes: Any) -> ModelProto:
    count, rows = 2 if direction == "bidirectional" else 1, 4 * GATES[op]
    states = [f"{name}0" for name in "hc"[: 2 if op == "LSTM" else 1]] if state else []
    given = ["x", "W", "R", "B", "lengths" if lengths else "", *states]
    results = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    node = helper.make_node(op, given, results, name="rnn", hidden_size=4, direction=direction, **attributes)
    inputs = [_value("x", FLOAT, ["T", "B", 3]), *(_value(name, FLOAT, [count, "B", 4]) for name in states)]
    if lengths:
        inputs.append(_value("lengths", TensorProto.INT32, ["B"]))
    weights = {"W": _normal(count, rows, 3), "R": _normal(count, rows, 4), "B": _normal(count, 2 * rows)}
    return _model(_graph([node], inputs, [_value(name, FLOAT, None) for name in results], **weights))


@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_a_recurrent_node_runs_in_every_direction(
    op: str, direction: str, lengths: bool, imported_outputs: Outputs
) -> None:
    model = _recurrent(op, direction, lengths=lengths, state=True)
    count = 2 if direction == "bidirectional" else 1
    feeds = {"x": _normal(6, 3, 3), "h0": _normal(count, 3, 4)}
    feeds |= {"c0": _normal(count, 3, 4)} if op == "LSTM" else {}
    feeds |= {"lengths": np.array([6, 1, 4], np.int32)} if lengths else {}
    _check(imported_outputs, model, feeds, atol=3e-6)


@pytest.mark.parametrize("linear_before_reset", [0, 1])
def test_a_gru_applies_its_reset_gate_where_the_attribute_says(
    linear_before_reset: int, imported_outputs: Outputs
) -> None:
    model = _recurrent("GRU", "forward", lengths=False, state=False, linear_before_reset=linear_before_reset)
    _check(imported_outputs, model, {"x": _normal(5, 2, 3)}, atol=3e-6)


@pytest.mark.parametrize(
    ("activations", "parameters"),
    [
        (["HardSigmoid", "Tanh", "Relu"], {"activation_alpha": [0.25], "activation_beta": [0.4]}),
        (["Sigmoid", "Softsign", "Tanh"], {}),
        (["Sigmoid", "LeakyRelu", "Tanh"], {"activation_alpha": [0.05]}),
    ],
    ids=["hard-sigmoid", "softsign", "leaky-relu"],
)
def test_other_activations_than_the_usual_ones(
    activations: list[str], parameters: dict[str, Any], imported_outputs: Outputs
) -> None:
    model = _recurrent("LSTM", "forward", lengths=False, state=False, activations=activations, **parameters)
    _check(imported_outputs, model, {"x": _normal(4, 2, 3)}, atol=3e-6)
