"""Whether every convolution and pooling of a graph has at least one whole window, at given sizes of the inputs.

ONNX Runtime gives one value where a pooling's window is larger than what it pools, and other backends refuse that.
"""

from collections.abc import Callable, Mapping

from onnx import GraphProto, ModelProto, NodeProto, shape_inference

from rnnx.adopting.graph_signature import LARGEST_INFERRED
from rnnx.linting.declared_tensors import dims_of
from rnnx.linting.light_models import light_model
from rnnx.linting.rules.scopes import attributes_of, is_onnx

_WINDOWED = ("Conv", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool")
Shapes = Mapping[str, tuple[int, ...]]


def window_check(model: ModelProto) -> Callable[[Shapes], bool]:
    """A function that says whether the windows fit for inputs of these shapes, by the graph's names."""
    if not any(is_onnx(node, *_WINDOWED) for node in model.graph.node) or model.ByteSize() > LARGEST_INFERRED:
        return lambda shapes: True
    light = _without_sizes(model)

    def fits(shapes: Shapes) -> bool:
        own = ModelProto.FromString(light)
        _set_inputs(own.graph, shapes)
        try:
            own = shape_inference.infer_shapes(own)
        except Exception:  # of graphs that ONNX cannot follow, and ONNX Runtime can
            return True
        dims = {value.name: dims_of(value) for value in (*own.graph.value_info, *own.graph.input)}
        dims |= {tensor.name: tuple(tensor.dims) for tensor in own.graph.initializer}
        return all(_fits(node, dims) for node in own.graph.node if is_onnx(node, *_WINDOWED))

    return fits


def _without_sizes(model: ModelProto) -> bytes:
    """The model without weights and without the sizes that it says; what it computes is not asked for."""
    light = light_model(model)
    del light.graph.value_info[:]
    for output in light.graph.output:
        output.type.tensor_type.ClearField("shape")  # what is declared may be wrong
    return bytes(light.SerializeToString())


def _set_inputs(graph: GraphProto, shapes: Shapes) -> None:
    for value in graph.input:
        if value.name in shapes:
            kind = value.type.tensor_type
            kind.ClearField("shape")
            kind.shape.SetInParent()
            for size in shapes[value.name]:
                kind.shape.dim.add().dim_value = size


def _fits(node: NodeProto, dims: Mapping[str, tuple[int | str | None, ...] | None]) -> bool:
    """Whether a window lies inside of what it slides over, padding included; what is not known may."""
    own, given = attributes_of(node), dims.get(node.input[0])
    kernel = own.get("kernel_shape")
    if not kernel or given is None or own.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return True
    rank = len(kernel)
    pads, dilations = own.get("pads", [0] * 2 * rank), own.get("dilations", [1] * rank)
    if len(given) != rank + 2 or len(pads) != 2 * rank or len(dilations) != rank:
        return True
    return all(
        not isinstance(size, int) or size + pads[axis] + pads[axis + rank] >= (kernel[axis] - 1) * dilations[axis] + 1
        for axis, size in enumerate(given[2:])
    )
