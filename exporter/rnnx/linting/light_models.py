"""A model without what its shapes do not depend on, since ONNX infers them from four copies of all that it is given."""

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

_SMALL = 1024
"""Bytes up to which a part is copied whole, a constant that can be a shape for one."""

_Message = AttributeProto | FunctionProto | GraphProto | NodeProto

_TEXTS = ("doc_string", "metadata_props")


def light_model(model: ModelProto) -> ModelProto:
    """A copy of a model without long documentation, and without the values of large constants, whose dims stay."""
    light = ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    for function in model.functions:
        _put_function(light.functions.add(), function)
    _put_graph(light.graph, model.graph)
    return light


def _put_graph(light: GraphProto, graph: GraphProto) -> None:
    for node in graph.node:
        _put_node(light.node.add(), node)
    for tensor in graph.initializer:
        _put_tensor(light.initializer.add(), tensor)
    _put_fields(light, graph, ("node", "initializer", *_TEXTS))


def _put_function(light: FunctionProto, function: FunctionProto) -> None:
    for node in function.node:
        _put_node(light.node.add(), node)
    _put_fields(light, function, ("node", *_TEXTS))


def _put_node(light: NodeProto, node: NodeProto) -> None:
    if node.ByteSize() <= _SMALL:
        light.CopyFrom(node)
        return
    for attribute in node.attribute:
        _put_attribute(light.attribute.add(), attribute)
    _put_fields(light, node, ("attribute", *_TEXTS))


def _put_attribute(light: AttributeProto, attribute: AttributeProto) -> None:
    if attribute.HasField("t"):
        _put_tensor(light.t, attribute.t)
    if attribute.HasField("g"):
        _put_graph(light.g, attribute.g)
    for graph in attribute.graphs:
        _put_graph(light.graphs.add(), graph)
    _put_fields(light, attribute, ("t", "g", "graphs", *_TEXTS))


def _put_tensor(light: TensorProto, tensor: TensorProto) -> None:
    if tensor.ByteSize() <= _SMALL:
        light.CopyFrom(tensor)
        return
    light.name, light.data_type, light.data_location = tensor.name, tensor.data_type, tensor.data_location
    light.dims.extend(tensor.dims)
    light.external_data.extend(tensor.external_data)


def _put_fields(light: _Message, whole: _Message, but: tuple[str, ...]) -> None:
    """Copy every field that is set; the type of both is the same."""
    for field, value in whole.ListFields():
        if field.name in but:
            continue
        if isinstance(value, (str, bytes, int, float)):
            setattr(light, field.name, value)
        elif hasattr(value, "extend"):
            getattr(light, field.name).extend(value)
        else:
            getattr(light, field.name).CopyFrom(value)
