from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from rnnx.errors import EngineError
from rnnx.traps import find_traps, refuse_traps

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FLOAT = TensorProto.FLOAT


def _model(*nodes: NodeProto, inputs: dict[str, int] | None = None, **weights: TensorProto) -> ModelProto:
    declared = [helper.make_tensor_value_info(name, kind, ["N"]) for name, kind in (inputs or {"x": FLOAT}).items()]
    outputs = [helper.make_tensor_value_info("y", FLOAT, None)]
    graph = helper.make_graph(list(nodes), "g", declared, outputs, list(weights.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def _recurrent(op: str, kind: int = FLOAT, lengths: bool = False, **attributes: Any) -> ModelProto:
    size = GATES[op]
    weights = {
        "W": helper.make_tensor("W", kind, [1, size, 1], [1.0] * size),
        "R": helper.make_tensor("R", kind, [1, size, 1], [1.0] * size),
    }
    inputs = ["x", "W", "R", *(["", "lengths"] if lengths else [])]
    node = helper.make_node(op, inputs, ["y"], name="rnn", hidden_size=1, **attributes)
    return _model(node, inputs={"x": kind, "lengths": TensorProto.INT32}, **weights)


def _reasons(model: ModelProto) -> list[str]:
    return [trap.reason for trap in find_traps(model)]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        *(
            pytest.param(_recurrent(op, layout=1), "layout=1, which TensorRT ignores", id=f"{op}-layout")
            for op in GATES
        ),
        pytest.param(_recurrent("LSTM", clip=3.0), "clip on an LSTM", id="LSTM-clip"),
        pytest.param(_recurrent("RNN", activations=["Softplus"]), "the activation Softplus", id="RNN-softplus"),
        pytest.param(_recurrent("GRU", activations=["Sigmoid", "softplus"]), "Softplus", id="GRU-softplus-lower-case"),
        pytest.param(_recurrent("LSTM", input_forget=1), "input_forget=1", id="LSTM-input-forget"),
        pytest.param(
            _recurrent("LSTM", TensorProto.FLOAT16, lengths=True), "sequence_lens together", id="fp16-lengths"
        ),
        pytest.param(
            _recurrent("RNN", TensorProto.BFLOAT16, lengths=True), "sequence_lens together", id="bf16-lengths"
        ),
        pytest.param(_recurrent("GRU", TensorProto.BFLOAT16), "a GRU in bfloat16", id="GRU-bf16"),
    ],
)
def test_a_recurrent_trap_is_found(model: ModelProto, reason: str) -> None:
    (trap,) = find_traps(model)
    assert reason in trap.reason
    assert trap.node.endswith("'rnn'")
    assert trap.remedy


@pytest.mark.parametrize(
    "model",
    [
        *(pytest.param(_recurrent(op, lengths=True, layout=0), id=f"{op}-lengths") for op in GATES),
        pytest.param(_recurrent("LSTM", input_forget=0, direction="forward"), id="LSTM-defaults"),
        pytest.param(_recurrent("GRU", clip=3.0, linear_before_reset=1), id="GRU-clip"),
        pytest.param(_recurrent("LSTM", TensorProto.BFLOAT16), id="LSTM-bf16"),
        pytest.param(_recurrent("GRU", TensorProto.FLOAT16), id="GRU-fp16"),
        pytest.param(_model(helper.make_node("Softplus", ["x"], ["y"])), id="Softplus-operator"),
        pytest.param(_model(helper.make_node("LSTM", ["x"], ["y"], domain="other", layout=1)), id="other-domain"),
    ],
)
def test_what_tensorrt_computes_right_is_no_trap(model: ModelProto) -> None:
    assert find_traps(model) == []


@pytest.mark.parametrize(
    ("model", "node"),
    [
        pytest.param(
            _model(helper.make_node("Relu", ["x"], ["y"]), inputs={"x": TensorProto.DOUBLE}), "tensor 'x'", id="input"
        ),
        pytest.param(
            _model(helper.make_node("Relu", ["w"], ["y"]), w=numpy_helper.from_array(np.ones(2), "w")),
            "tensor 'w'",
            id="weight",
        ),
        pytest.param(_model(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.DOUBLE)), "Cast 'y'", id="cast"),
        pytest.param(
            _model(helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.ones(2)))),
            "Constant 'y'",
            id="constant",
        ),
        pytest.param(
            _model(helper.make_node("RandomNormal", [], ["y"], shape=[2], dtype=TensorProto.DOUBLE)),
            "RandomNormal 'y'",
            id="random",
        ),
    ],
)
def test_float64_is_found_wherever_it_enters(model: ModelProto, node: str) -> None:
    (trap,) = find_traps(model)
    assert (trap.node, trap.reason) == (node, "float64, which TensorRT silently computes in float32")


def _loop(body: NodeProto, trip_limit: str = "m") -> NodeProto:
    state = [helper.make_tensor_value_info(name, FLOAT, ["N"]) for name in ("s", "s2")]
    kinds = (("i", TensorProto.INT64), ("go", TensorProto.BOOL), ("go2", TensorProto.BOOL))
    i, go, go2 = (helper.make_tensor_value_info(name, kind, []) for name, kind in kinds)
    same = helper.make_node("Identity", ["go"], ["go2"])
    graph = helper.make_graph([same, body], "body", [i, go, state[0]], [go2, state[1]])
    return helper.make_node("Loop", [trip_limit, "", "x"], ["y"], name="loop", body=graph)


def test_a_loop_needs_a_trip_limit() -> None:
    relu = helper.make_node("Relu", ["s"], ["s2"])
    assert _reasons(_model(_loop(relu))) == []
    assert _reasons(_model(_loop(relu, ""))) == ["a Loop without a trip limit, which TensorRT refuses"]


def test_a_trap_in_a_subgraph_is_found_with_types_from_outside() -> None:
    gru = helper.make_node("GRU", ["projected", "W", "R"], ["s2"], name="inner", hidden_size=1)
    weight = helper.make_tensor("W", TensorProto.BFLOAT16, [1, 3, 1], [1.0] * 3)
    (trap,) = find_traps(_model(_loop(gru), W=weight))
    assert (trap.node, trap.reason) == ("GRU 'inner'", "a GRU in bfloat16, which TensorRT refuses")


def test_a_trap_in_a_local_function_is_found() -> None:
    model = _model(helper.make_node("F", ["x"], ["y"], domain="local"))
    node = helper.make_node("RNN", ["x", "W", "R"], ["y"], name="inside", layout=1)
    function = helper.make_function("local", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 17)])
    model.functions.append(function)
    assert [trap.node for trap in find_traps(model)] == ["RNN 'inside'"]


def test_refusal_names_the_file_the_node_the_reason_and_the_remedy() -> None:
    with pytest.raises(EngineError) as caught:
        refuse_traps(_recurrent("LSTM", layout=1, clip=1.0), "model.onnx")
    assert str(caught.value) == (
        "model.onnx, LSTM 'rnn': got layout=1, which TensorRT ignores: it takes the batch for the time "
        "(and 1 more), expected a graph that TensorRT computes as ONNX defines it; "
        "transpose x inside the graph, as rnnx export --batch-first does"
    )


def test_a_model_without_traps_passes() -> None:
    refuse_traps(_recurrent("LSTM"), "model.onnx")
