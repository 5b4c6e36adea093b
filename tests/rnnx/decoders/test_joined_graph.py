"""An encoder and a looping decoder in one graph."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tests.rnnx.decoders.small_decoders import HIDDEN, VOCABULARY, part_of

from rnnx.decoders.decoder_writing import model_from_graph
from rnnx.decoders.joined_graph import joined_graph
from rnnx.decoders.loop_decoder import loop_graph
from rnnx.decoders.step_graph import StepGraph
from rnnx_runtime.contract import Contract, Source, Streaming, TensorSpec


def encoder() -> tuple[onnx.ModelProto, Contract]:
    """`hn = x · table`, with the names of values and weights that the decoder has too; x is `bias` as well."""
    table = numpy_helper.from_array(np.eye(VOCABULARY, HIDDEN, dtype=np.float32) * 2, "table")
    nodes = [
        helper.make_node("MatMul", ["x", "table"], ["sum"], name="add"),
        helper.make_node("Neg", ["sum"], ["hn"], name="negate"),
    ]
    x = TensorSpec(name="x", dtype="float32", dims=("B", VOCABULARY))
    hn = TensorSpec(name="hn", dtype="float32", dims=("B", HIDDEN))
    ends = [helper.make_tensor_value_info(own.name, TensorProto.FLOAT, list(own.dims)) for own in (x, hn)]
    graph = helper.make_graph(nodes, "encoder", ends[:1], ends[1:], [table])
    contract = Contract(
        inputs=(x,),
        outputs=(hn,),
        states=(),
        lengths=(),
        recurrent=(),
        streaming=Streaming(kind="exact"),
        precision="float32",
        source=Source(file="", module="", weights_sha256=""),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), contract


def outputs_of(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(["tokens", "output_lengths"], feeds)
    return found


def test_the_joined_graph_is_the_encoder_and_then_the_decoder(step: StepGraph) -> None:
    part = part_of(start_token=1, token=None, end_token=3)
    loop = loop_graph(step, part)
    joined = joined_graph(*encoder(), loop, {"state": "hn", "bias": "x"})
    assert [spec.name for spec in joined.inputs] == ["x"]
    assert [spec.name for spec in joined.outputs] == ["tokens", "output_lengths"]
    x = np.random.default_rng(0).standard_normal((6, VOCABULARY)).astype(np.float32)
    state = -(x @ (np.eye(VOCABULARY, HIDDEN, dtype=np.float32) * 2))
    found = outputs_of(model_from_graph(joined, 18), {"x": x})
    expected = outputs_of(model_from_graph(loop, 18), {"state": state, "bias": x})
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, other)


def test_values_and_weights_of_equal_names_stay_apart(step: StepGraph) -> None:
    joined = joined_graph(*encoder(), loop_graph(step, part_of()), {"token": "x", "state": "hn", "bias": "x"})
    made = [name for node in joined.nodes for name in node.output]
    weights = [tensor.name for tensor in joined.weights]
    assert len(set(made)) == len(made)
    assert len(set(weights)) == len(weights)
    assert {"encoder/table", "decoder/table"} <= set(weights)
