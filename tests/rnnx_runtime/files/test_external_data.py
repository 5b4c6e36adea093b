from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from rnnx_runtime import ContractError
from rnnx_runtime.files.external_data import (
    DEEPEST,
    PARTS,
    ExternalTensor,
    external_size,
    external_tensors,
    refuse_external,
)

OUTSIDE = "../../etc/passwd"


def tensor(location: str = OUTSIDE, name: str = "w", **entries: str) -> TensorProto:
    made = TensorProto(name=name, dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        made.external_data.add(key=key, value=value)
    return made


def node(attribute: AttributeProto) -> NodeProto:
    return NodeProto(op_type="Constant", output=["w"], attribute=[attribute])


def sparse(values: TensorProto) -> SparseTensorProto:
    return SparseTensorProto(values=values, indices=TensorProto(dims=[1], data_type=TensorProto.INT64))


def in_graph(graph: GraphProto) -> ModelProto:
    return ModelProto(ir_version=8, graph=graph)


ATTRIBUTES = {
    "tensor": AttributeProto(name="value", t=tensor()),
    "tensors": AttributeProto(name="values", tensors=[TensorProto(), tensor()]),
    "sparse-tensor": AttributeProto(name="value", sparse_tensor=sparse(tensor())),
    "sparse-tensors": AttributeProto(name="values", sparse_tensors=[sparse(tensor())]),
    "graph": AttributeProto(name="body", g=GraphProto(initializer=[tensor()])),
    "graphs": AttributeProto(name="bodies", graphs=[GraphProto(), GraphProto(initializer=[tensor()])]),
    "graph-in-graph": AttributeProto(
        name="body",
        g=GraphProto(node=[node(AttributeProto(name="body", g=GraphProto(node=[node(AttributeProto(t=tensor()))])))]),
    ),
}


def _training(model: ModelProto, graph: GraphProto, part: str) -> ModelProto:
    getattr(model.training_info.add(), part).CopyFrom(graph)
    return model


PLACES = {
    "initializer": in_graph(GraphProto(initializer=[tensor()])),
    "sparse-values": in_graph(GraphProto(sparse_initializer=[sparse(tensor())])),
    "sparse-indices": in_graph(GraphProto(sparse_initializer=[SparseTensorProto(indices=tensor())])),
    "training-start": _training(ModelProto(), GraphProto(initializer=[tensor()]), "initialization"),
    "training-step": _training(ModelProto(), GraphProto(initializer=[tensor()]), "algorithm"),
    "function": ModelProto(functions=[onnx.FunctionProto(node=[node(ATTRIBUTES["tensor"])])]),
    "function-default": ModelProto(functions=[onnx.FunctionProto(attribute_proto=[ATTRIBUTES["tensor"]])]),
    **{f"attribute-{name}": in_graph(GraphProto(node=[node(attribute)])) for name, attribute in ATTRIBUTES.items()},
}


@pytest.mark.parametrize("model", PLACES.values(), ids=PLACES)
def test_an_external_tensor_is_found_wherever_it_is(model: ModelProto) -> None:
    found = external_tensors(model.SerializeToString())
    assert found == [ExternalTensor(name="w", location=OUTSIDE, offset="", length="")]


def test_the_table_names_every_message_of_onnx_that_can_hold_a_tensor() -> None:
    messages = ModelProto.DESCRIPTOR.file.message_types_by_name.values()
    holders = {"TensorProto"}
    while True:
        more = {m.name for m in messages if any(f.message_type and f.message_type.name in holders for f in m.fields)}
        if more <= holders:
            break
        holders |= more
    table: dict[str, dict[int, str]] = {
        m.name: {f.number: f.message_type.name for f in m.fields if f.message_type and f.message_type.name in holders}
        for m in messages
        if m.name in holders - {"TensorProto"}
    }
    assert table == PARTS


def by_onnx(message: Any) -> list[tuple[str, str, str]]:
    """Each external tensor as onnx's own classes show it."""
    if isinstance(message, TensorProto):
        entries = {entry.key: entry.value for entry in message.external_data}
        outside = message.data_location == TensorProto.EXTERNAL or entries
        return [tuple(entries.get(key, "") for key in ("location", "offset", "length"))] if outside else []
    inner = [
        value
        for field, content in message.ListFields()
        if field.message_type
        for value in ([content] if hasattr(content, "ListFields") else content)
    ]
    return [found for value in inner for found in by_onnx(value)]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
keys = st.dictionaries(st.sampled_from(["location", "offset", "length", "checksum"]), texts)


@st.composite
def tensors(draw: st.DrawFn) -> TensorProto:
    made = TensorProto(name=draw(texts), raw_data=draw(st.binary(max_size=200)))
    made.data_location = draw(st.sampled_from([TensorProto.DEFAULT, TensorProto.EXTERNAL]))
    for key, value in draw(keys).items():
        made.external_data.add(key=key, value=value)
    return made


def graphs(attributes: st.SearchStrategy[AttributeProto]) -> st.SearchStrategy[GraphProto]:
    nodes = st.builds(NodeProto, name=texts, attribute=st.lists(attributes, max_size=2))
    sparses = st.builds(SparseTensorProto, values=tensors(), indices=tensors())
    return st.builds(
        GraphProto,
        node=st.lists(nodes, max_size=2),
        initializer=st.lists(tensors(), max_size=2),
        sparse_initializer=st.lists(sparses, max_size=1),
    )


attributes = st.recursive(
    st.builds(AttributeProto, name=texts, t=tensors()),
    lambda inner: st.builds(AttributeProto, g=graphs(inner), tensors=st.lists(tensors(), max_size=1)),
    max_leaves=4,
)
models = st.builds(
    ModelProto,
    graph=graphs(attributes),
    functions=st.lists(st.builds(onnx.FunctionProto, attribute_proto=st.lists(attributes, max_size=1)), max_size=1),
)


@settings(deadline=None, database=None, derandomize=True, max_examples=150)
@given(models)
def test_the_tensors_found_are_those_that_onnx_finds_and_have_a_location(model: ModelProto) -> None:
    found = [(t.location, t.offset, t.length) for t in external_tensors(model.SerializeToString())]
    expected = by_onnx(model)
    assert [entry for entry in found if entry[0]] == [entry for entry in expected if entry[0]]
    assert not [entry for entry in found if entry not in expected]


def test_a_large_weight_is_passed_by_its_length() -> None:
    weight = TensorProto(name="w", raw_data=b"location" * 10**6)
    model = in_graph(GraphProto(initializer=[weight, tensor(name="after")])).SerializeToString()
    assert [found.name for found in external_tensors(model)] == ["after"]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        pytest.param(tensor(stray="1"), "the key 'stray'", id="key-unknown"),
        pytest.param(TensorProto.FromString(tensor().SerializeToString() * 2), "or with it twice", id="key-twice"),
    ],
)
def test_a_key_that_onnx_does_not_know_is_refused(field: TensorProto, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        external_tensors(in_graph(GraphProto(initializer=[field])).SerializeToString())


def test_a_location_that_is_no_text_is_refused() -> None:
    model = in_graph(GraphProto(initializer=[tensor("name")])).SerializeToString().replace(b"name", b"\xffame")
    with pytest.raises(ValueError, match="utf-8"):
        external_tensors(model)


def test_a_number_that_a_parser_would_cut_to_the_external_flag_counts_as_it() -> None:
    weight = b"\x70\x81\x80\x80\x80\x10"  # field 14, 2³² + 1
    model = b"\x3a\x08\x2a\x06" + weight
    assert len(external_tensors(model)) == 1


def test_messages_nested_without_end_are_refused() -> None:
    model = tensor().SerializeToString()
    for tag in (b"\x2a", *[b"\x32", b"\x2a", b"\x0a"] * DEEPEST, b"\x3a"):  # initializer, (g, attribute, node), graph
        length, size = b"", len(model)
        while size > 0x7F:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        model = tag + length + bytes([size]) + model
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        external_tensors(model)


def external(**changes: str) -> ExternalTensor:
    return ExternalTensor(**{"name": "w", "location": "m.data", "offset": "8", "length": "16"} | changes)


def test_the_size_is_where_the_last_tensor_ends() -> None:
    tensors = [external(), external(offset="", length="4"), external(offset="24", length="100")]
    assert external_size(tensors, "m.data", "m.onnx") == 124
    assert external_size([], "m.data", "m.onnx") == 0


@pytest.mark.parametrize(
    "changes",
    [
        *[{"location": name} for name in ("", OUTSIDE, "/etc/passwd", "./m.data", "M.data", "*/_ORT_MEM_ADDR_/*")],
        *[{"offset": text} for text in ("-1", "1e3", "0x10", " 8", "٣", "9" * 400)],
        *[{"length": text} for text in ("", "-16", "inf", "9" * 400)],
    ],
    ids=str,
)
def test_a_tensor_outside_the_one_file_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ContractError, match=r"^tensor 'w' of m\.onnx: got external data at ") as caught:
        external_size([external(), external(**changes)], "m.data", "m.onnx")
    assert len(str(caught.value)) < 300


def test_every_external_tensor_is_refused_where_there_is_no_file_for_it() -> None:
    refuse_external([], "m.onnx")
    with pytest.raises(ContractError) as caught:
        refuse_external([external()], "m.onnx")
    assert str(caught.value) == (
        "tensor 'w' of m.onnx: got external data at 'm.data', expected none, as its contract says; "
        "export the model again"
    )
