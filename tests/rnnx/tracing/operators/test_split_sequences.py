import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, parser, reference

from rnnx.tracing.operators.split_sequences import replace_sequences

X = np.arange(2 * 6 * 3, dtype=np.float32).reshape(2, 6, 3)


def graph(split: str, constants: str, *places: int) -> onnx.ModelProto:
    """Parts of x `(2, 6, 3)` at these places of a sequence, as outputs y0, y1, ….

    `split` is the node that makes the sequence.
    """
    picks = "\n".join(f"y{number} = SequenceAt (parts, p{number})" for number in range(len(places)))
    values = ", ".join([*filter(None, [constants]), *(f"int64 p{i} = {{{place}}}" for i, place in enumerate(places))])
    outputs = ", ".join(f"float[a{i},b{i},c{i}] y{i}" for i in range(len(places)))
    text = f"agraph (float[B,T,3] x) => ({outputs}) <{values}> {{ parts = {split}\n{picks} }}"
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]>\n{text}')


@pytest.mark.parametrize(
    ("split", "constants", "places"),
    [
        ("SplitToSequence <axis = 1, keepdims = 0> (x)", "", (0, 4, -1)),
        ("SplitToSequence <axis = -1> (x)", "", (0, -1)),
        ("SplitToSequence (x)", "", (1,)),
        ("SplitToSequence <axis = 1> (x, n)", "int64 n = {4}", (0, 1)),
        ("SplitToSequence <axis = 1> (x, n)", "int64 n = {2}", (0, -1, -2)),
        ("SplitToSequence <axis = 1, keepdims = 0> (x, n)", "int64 n = {3}", (1,)),
        ("SplitToSequence <axis = 1> (x, n)", "int64[3] n = {1, 3, 2}", (0, 1, 2, -1)),
    ],
    ids=["unbind", "single-steps", "first-axis", "uneven", "from-the-end", "keepdims-is-ignored", "lengths"],
)
def test_parts_are_taken_out_of_the_tensor_itself(split: str, constants: str, places: tuple[int, ...]) -> None:
    proto = graph(split, constants, *places)
    model = ir.from_proto(proto)
    replace_sequences(model)
    changed = ir.to_proto(model)
    onnx.checker.check_model(changed)
    assert {node.op_type for node in changed.graph.node} <= {"Constant", "Slice", "Gather"}
    expected = reference.ReferenceEvaluator(proto).run(None, {"x": X})
    found = reference.ReferenceEvaluator(changed).run(None, {"x": X})
    assert [np.asarray(value).tolist() for value in found] == [np.asarray(value).tolist() for value in expected]


@pytest.mark.parametrize("kept", ["place", "length"])
def test_a_sequence_stays_where_a_place_or_length_is_no_constant(kept: str) -> None:
    proto = graph("SplitToSequence <axis = 1> (x, n)", "int64 n = {2}", 1)
    name = "p0" if kept == "place" else "n"
    weights = [own for own in proto.graph.initializer if own.name != name]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(weights)
    proto.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.INT64, []))
    model = ir.from_proto(proto)
    replace_sequences(model)
    assert [node.op_type for node in model.graph] == ["SplitToSequence", "SequenceAt"]
