"""Mutants of the way through time: lengths, order, halves of output, layout, sizes fixed in the graph."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from tests.mutants.edits import after, attribute, before, constant, input_at, node, nodes, together
from tests.mutants.mutant import Edit, Mutant
from tests.mutants.sources import (
    GRU_2_BI,
    GRU_BI,
    GRU_STEP,
    GRU_UNROLLED,
    GRU_ZERO_START,
    LSTM,
    LSTM_2,
    LSTM_2_BI,
    LSTM_2_BI_BATCH_FIRST,
    LSTM_BI,
    LSTM_ZERO_START,
)  # fmt: skip

Chain = Callable[[onnx.ModelProto, str], tuple[Sequence[onnx.NodeProto], str]]


def _halves_exchanged(model: onnx.ModelProto, tensor: str) -> tuple[list[onnx.NodeProto], str]:
    order = constant(model, f"order_of_{tensor}", [*range(8, 16), *range(8)])
    return [node("Gather", [tensor, order], f"{tensor}_exchanged", axis=2)], f"{tensor}_exchanged"


def _reshaped(shape: Sequence[int]) -> Chain:
    def chain(model: onnx.ModelProto, tensor: str) -> tuple[list[onnx.NodeProto], str]:
        target = constant(model, f"shape_of_{tensor}", shape)
        return [node("Reshape", [tensor, target], f"{tensor}_reshaped")], f"{tensor}_reshaped"

    return chain


def _without_transpose(place: int) -> Edit:
    """The Reshape that joins the directions reads ONNX's Y as it is, `(T, D, B, H)` taken for `(T, B, D·H)`."""

    def edit(model: onnx.ModelProto) -> None:
        transposes = [one for one in model.graph.node if one.op_type == "Transpose"]
        reshapes = [one for one in model.graph.node if one.op_type == "Reshape"]
        shape = node("Shape", [transposes[place].input[0]], f"whole_{place}")
        picked = constant(model, f"picked_{place}", [0, 2])
        lead = node("Gather", [f"whole_{place}", picked], f"lead_{place}", axis=0)
        width = constant(model, f"width_{place}", [16])
        target = node("Concat", [f"lead_{place}", width], f"target_{place}", axis=0)
        reshapes[place].input[0], reshapes[place].input[1] = transposes[place].input[0], f"target_{place}"
        kept = []
        for one in model.graph.node:
            if one.name == reshapes[place].name:
                kept += [shape, lead, target]
            kept.append(onnx.NodeProto.FromString(one.SerializeToString()))
        del model.graph.node[:]
        model.graph.node.extend(kept)

    return edit


def _units_alternating(model: onnx.ModelProto, tensor: str) -> tuple[list[onnx.NodeProto], str]:
    order = constant(model, f"order_of_{tensor}", [unit + half for unit in range(8) for half in (0, 8)])
    return [node("Gather", [tensor, order], f"{tensor}_alternating", axis=2)], f"{tensor}_alternating"


def _from_the_end(axis: int) -> Chain:
    def chain(model: onnx.ModelProto, tensor: str) -> tuple[list[onnx.NodeProto], str]:
        parts = (("start", -1), ("end", -(2**31)), ("axis", axis), ("step", -1))
        ends = [constant(model, f"{name}_of_{tensor}", [value]) for name, value in parts]
        return [node("Slice", [tensor, *ends], f"{tensor}_turned")], f"{tensor}_turned"

    return chain


def _inputs_reversed(one: onnx.NodeProto) -> None:
    one.input[:] = list(one.input)[::-1]


def _cut(axis: int, size: int) -> Chain:
    def chain(model: onnx.ModelProto, tensor: str) -> tuple[list[onnx.NodeProto], str]:
        parts = (("start", 0), ("end", size), ("axis", axis))
        ends = [constant(model, f"{name}_of_{tensor}", [value]) for name, value in parts]
        return [node("Slice", [tensor, *ends], f"{tensor}_cut")], f"{tensor}_cut"

    return chain


def _expanded_states(batch: int) -> Edit:
    """Initial states of zeros as constants of one batch, as an exporter writes them that traced them."""

    def edit(model: onnx.ModelProto) -> None:
        zeros = constant(model, "traced_zeros", np.zeros((2, batch, 8)), np.float32)
        nodes("LSTM", input_at(5, zeros))(model)
        nodes("LSTM", input_at(6, zeros))(model)

    return edit


def _constant_lengths(size: int) -> Edit:
    """sequence_lens as a constant of the traced length, for as many rows as x has."""

    def edit(model: onnx.ModelProto) -> None:
        shape = node("Shape", ["x"], "shape_of_x", start=1, end=2)
        value = onnx.helper.make_tensor("value", onnx.TensorProto.INT32, [1], [size])
        lengths = node("ConstantOfShape", ["shape_of_x"], "traced_lengths", value=value)
        kept = [onnx.NodeProto.FromString(one.SerializeToString()) for one in model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend([shape, lengths, *kept])
        nodes("LSTM", input_at(4, "traced_lengths"))(model)

    return edit


def _padded_backward(layer: int) -> Edit:
    """A bidirectional node as two: the backward one without lengths, its last steps masked."""

    def edit(model: onnx.ModelProto) -> None:
        places = [at for at, one in enumerate(model.graph.node) if one.op_type in ("LSTM", "GRU")]
        whole = onnx.NodeProto.FromString(model.graph.node[places[layer]].SerializeToString())
        _split_directions(model, whole, places[layer])

    return edit


def _split_directions(model: onnx.ModelProto, whole: onnx.NodeProto, at: int) -> None:
    halves = constant(model, f"halves_{whole.name}", [1, 1])
    states = [name for name in whole.input[5:7] if name]
    made: list[onnx.NodeProto] = []
    for name in (*whole.input[1:4], *states):
        made.append(
            onnx.helper.make_node("Split", [name, halves], [f"{name}_{n}_{whole.name}" for n in (0, 1)], axis=0)
        )
    for n, direction in enumerate(("forward", "reverse")):
        inputs = [whole.input[0], *(f"{name}_{n}_{whole.name}" for name in whole.input[1:4])]
        inputs += [whole.input[4] if direction == "forward" else "", *(f"{name}_{n}_{whole.name}" for name in states)]
        own = onnx.helper.make_node(
            whole.op_type, inputs, [f"{name}_{n}" for name in whole.output], f"{whole.name}_{direction}"
        )
        own.attribute.extend(kept for kept in whole.attribute if kept.name != "direction")
        attribute("direction", direction)(own)
        made.append(own)
    made += _mask(model, whole, f"{whole.output[0]}_1")
    pairs = [(f"{whole.output[0]}_0", f"{whole.output[0]}_1_masked"), *((f"{n}_0", f"{n}_1") for n in whole.output[1:])]
    for place, (name, pair) in enumerate(zip(whole.output, pairs, strict=True)):
        made.append(onnx.helper.make_node("Concat", list(pair), [name], axis=0 if place else 1))
    kept = [onnx.NodeProto.FromString(own.SerializeToString()) for own in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*kept[:at], *made, *kept[at + 1 :]])


def _mask(model: onnx.ModelProto, whole: onnx.NodeProto, y: str) -> list[onnx.NodeProto]:
    """Zeros past each row's length in Y `(T, 1, B, H)`."""
    name = whole.name
    zero, step = constant(model, f"zero_{name}", 0, np.int64), constant(model, f"step_{name}", 1, np.int64)
    first, time = constant(model, f"first_{name}", 0), constant(model, f"time_axes_{name}", [1, 2, 3])
    rows, none = constant(model, f"row_axes_{name}", [0, 1, 3]), constant(model, f"none_{name}", 0, np.float32)
    return [
        node("Shape", [y], f"shape_{name}"),
        node("Gather", [f"shape_{name}", first], f"steps_{name}", axis=0),
        node("Range", [zero, f"steps_{name}", step], f"range_{name}"),
        node("Unsqueeze", [f"range_{name}", time], f"times_{name}"),
        node("Cast", [whole.input[4]], f"ends64_{name}", to=onnx.TensorProto.INT64),
        node("Unsqueeze", [f"ends64_{name}", rows], f"ends_{name}"),
        node("Less", [f"times_{name}", f"ends_{name}"], f"valid_{name}"),
        node("Where", [f"valid_{name}", y, none], f"{y}_masked"),
    ]


def _lengths_plus(change: int, *, least: int = 1) -> Edit:
    """sequence_lens one more, within the time, or one less."""

    def edit(model: onnx.ModelProto) -> None:
        step, low = constant(model, "one_off", [change], np.int32), constant(model, "least_length", [least], np.int32)
        axis = next(value for value in model.graph.input if value.name == "x").type.tensor_type.shape.dim
        place = constant(model, "place_of_time", [[dim.dim_param for dim in axis].index("T")])
        made = [
            node("Shape", ["x"], "shape_of_x"),
            node("Gather", ["shape_of_x", place], "time_of_x", axis=0),
            node("Cast", ["time_of_x"], "time32", to=onnx.TensorProto.INT32),
            node("Add", ["lengths", step], "moved_lengths"),
            node("Min", ["moved_lengths", "time32"], "bounded_lengths"),
            node("Max", ["bounded_lengths", low], "other_lengths"),
        ]
        for own in model.graph.node:
            own.input[:] = ["other_lengths" if name == "lengths" else name for name in own.input]
        kept = [onnx.NodeProto.FromString(own.SerializeToString()) for own in model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend([*made, *kept])

    return edit


MUTANTS = [
    Mutant(
        name="lstm-2-bi-lengths-one-less",
        source=LSTM_2_BI,
        edit=_lengths_plus(-1),
        cause="lengths-shifted",
        says="one less than it is, and at least 1",
    ),
    Mutant(
        name="gru-2-bi-lengths-one-more",
        source=GRU_2_BI,
        edit=_lengths_plus(1),
        cause="lengths-shifted",
        says="one more than it is",
    ),
    Mutant(
        name="lstm-2-bi-batch-first-lengths-one-less-down-to-none",
        source=LSTM_2_BI_BATCH_FIRST,
        edit=_lengths_plus(-1, least=0),
        cause="lengths-shifted",
        says="one less than it is",
    ),
    Mutant(
        name="lstm-bi-halves-swapped",
        source=LSTM_BI,
        edit=after("output", _halves_exchanged),
        cause="output-interleaved",
    ),
    Mutant(
        name="gru-bi-batch-first-units-alternate",
        source=GRU_BI,
        edit=after("output", _units_alternating),
        cause="output-interleaved",
        says="alternate",
    ),
    Mutant(
        name="lstm-2-bi-halves-swapped-between-layers",
        source=LSTM_2_BI,
        edit=after("Reshape_0_reshaped", _halves_exchanged),
        cause="output-interleaved",
        layer=0,
    ),
    Mutant(
        name="lstm-2-bi-no-transpose",
        source=LSTM_2_BI,
        edit=together(_without_transpose(0), _without_transpose(1)),
        cause="output-interleaved",
        says="without the transpose",
    ),
    Mutant(
        name="gru-2-bi-no-transpose-at-the-end", source=GRU_2_BI, edit=_without_transpose(1), cause="output-interleaved"
    ),
    Mutant(
        name="lstm-2-bi-lengths-ignored", source=LSTM_2_BI, edit=nodes("LSTM", input_at(4, "")), cause="lengths-ignored"
    ),
    Mutant(
        name="lstm-2-bi-batch-first-lengths-ignored",
        source=LSTM_2_BI_BATCH_FIRST,
        edit=nodes("LSTM", input_at(4, "")),
        cause="lengths-ignored",
    ),
    Mutant(
        name="gru-2-bi-lengths-ignored-in-one-layer",
        source=GRU_2_BI,
        edit=nodes("GRU", input_at(4, ""), only=1),
        cause="lengths-ignored",
        layer=1,
    ),
    Mutant(
        name="gru-zero-start-lengths-ignored",
        source=GRU_ZERO_START,
        edit=nodes("GRU", input_at(4, "")),
        cause="lengths-ignored",
    ),
    Mutant(
        name="lstm-2-bi-backward-padding",
        source=LSTM_2_BI,
        edit=together(_padded_backward(1), _padded_backward(0)),
        cause="backward-padding",
    ),
    Mutant(
        name="gru-2-bi-backward-padding-in-one-layer",
        source=GRU_2_BI,
        edit=_padded_backward(0),
        cause="backward-padding",
        layer=0,
    ),
    Mutant(name="lstm-input-reversed", source=LSTM, edit=before("LSTM", "x", _from_the_end(0)), cause="time-reversed"),
    Mutant(
        name="gru-unrolled-steps-reversed",
        source=GRU_UNROLLED,
        edit=nodes("Concat", _inputs_reversed, only=0),
        cause="time-reversed",
    ),
    Mutant(
        name="lstm-batch-for-time",
        source=LSTM_2,
        edit=together(
            before("LSTM", "x", lambda model, name: ([node("Transpose", [name], "turned", perm=[1, 0, 2])], "turned")),
            after("output", lambda model, name: ([node("Transpose", [name], "back", perm=[1, 0, 2])], "back")),
        ),
        cause="batch-for-time",
    ),
    Mutant(
        name="lstm-zero-start-batch-for-time",
        source=LSTM_ZERO_START,
        edit=together(
            nodes("Transpose", attribute("perm", [0, 1, 2]), only=0),
            nodes("Transpose", attribute("perm", [0, 2, 1, 3]), only=2),
        ),
        cause="batch-for-time",
    ),
    Mutant(
        name="gru-bi-batch-for-time",
        source=GRU_BI,
        edit=together(
            nodes("Transpose", attribute("perm", [0, 1, 2]), only=0),
            nodes("Transpose", attribute("perm", [0, 2, 1, 3]), only=1),
        ),
        cause="batch-for-time",
    ),
    Mutant(
        name="lstm-bi-baked-time",
        source=LSTM_BI,
        edit=before("Reshape", "Transpose_0_transposed", _reshaped([5, -1, 2, 8])),
        cause="baked-time",
        foreign=True,
        says="T=5",
    ),
    Mutant(
        name="lstm-2-baked-time",
        source=LSTM_2,
        edit=before("LSTM", "x", _reshaped([7, -1, 5])),
        cause="baked-time",
        foreign=True,
        says="T=7",
    ),
    Mutant(name="lstm-cut-time", source=LSTM, edit=before("LSTM", "x", _cut(0, 5)), cause="baked-time", says="1–5"),
    Mutant(name="lstm-2-baked-lengths", source=LSTM_2, edit=_constant_lengths(5), cause="baked-time", says="T=5"),
    Mutant(
        name="lstm-2-bi-baked-batch",
        source=LSTM_2_BI,
        edit=before("LSTM", "Reshape_0_reshaped", _reshaped([-1, 3, 16])),
        cause="baked-batch",
        foreign=True,
        says="B=3",
    ),
    Mutant(
        name="lstm-zero-start-baked-batch",
        source=LSTM_ZERO_START,
        edit=_expanded_states(3),
        cause="baked-batch",
        foreign=True,
        says="B=3",
    ),
    Mutant(
        name="gru-step-baked-batch",
        source=GRU_STEP,
        edit=before("Gemm", "x", _reshaped([2, 5])),
        cause="baked-batch",
        foreign=True,
        says="B=2",
    ),
]
