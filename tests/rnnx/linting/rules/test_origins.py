import pytest
from tests.rnnx.linting.rules.conftest import model_of

from rnnx.linting.rules.origins import origin_of

GRAPH = "g (float[N] x) => (float[N] y) { y = Relu (x) }"


@pytest.mark.parametrize(
    ("producer", "ir_version", "exporter"),
    [
        ("pytorch 2.13.0", 9, "torch-torchscript"),
        ("pytorch 2.13.0+cpu", 10, "torch-dynamo"),
        ("tf2onnx 1.16.1", 8, "keras"),
        ("keras2onnx 1.7", 7, "keras"),
        ("rnnx 0.1.0", 9, "rnnx"),
        ("onnx.quantize 0.1.0", 9, "unknown"),
        ("", 9, "unknown"),
    ],
)
def test_the_producer_tells_the_exporter(producer: str, ir_version: int, exporter: str) -> None:
    model = model_of(GRAPH, producer)
    model.ir_version = ir_version
    origin = origin_of(model)
    assert (origin.exporter, origin.producer) == (exporter, producer or "not said")


@pytest.mark.parametrize("place", ["node", "graph"])
def test_a_mark_of_torch_outlasts_another_producer(place: str) -> None:
    model = model_of(GRAPH, "onnx.quantize 0.1.0")
    holder = model.graph.node[0] if place == "node" else model.graph
    holder.metadata_props.add(key="pkg.torch.onnx.fx_node", value="gru")
    assert origin_of(model).exporter == "torch-dynamo"
