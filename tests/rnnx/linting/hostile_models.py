"""Files that are made to hang, to fill the memory or to lead out of their folder, each by its kind.

`HOSTILE` gives each one's bytes, and puts beside it what it names. Sizes are those of the full trial; `scale` makes
them smaller.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Make = Callable[[Path, float], bytes]

BOOL, FLOAT, INT64 = TensorProto.BOOL, TensorProto.FLOAT, TensorProto.INT64


def sound() -> ModelProto:
    """A GRU as another exporter writes it, with rnnx's names; what every file here is made of."""
    chance = np.random.default_rng(0)
    shapes = {"W": (1, 12, 3), "R": (1, 12, 4), "B": (1, 24)}
    weights = [
        numpy_helper.from_array(chance.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    weights.append(numpy_helper.from_array(np.array([1]), "axes"))
    nodes = [
        helper.make_node("GRU", ["x", "W", "R", "B", "", "h0"], ["Y", "hn"], hidden_size=4, linear_before_reset=1),
        helper.make_node("Squeeze", ["Y", "axes"], ["output"]),
    ]
    inputs: list[tuple[str, list[str | int | None]]] = [("x", ["T", "B", 3]), ("h0", [1, "B", 4])]
    outputs: list[tuple[str, list[str | int | None]]] = [("output", ["T", "B", 4]), ("hn", [1, "B", 4])]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in inputs],
        [helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in outputs],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field of a protobuf."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """A whole number in base 128."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*groups, value))


def _with(change: Callable[[ModelProto], object]) -> Make:
    def make(_folder: Path, _scale: float) -> bytes:
        model = sound()
        change(model)
        return bytes(model.SerializeToString())

    return make


def _after_sound(tail: Callable[[float], bytes]) -> Make:
    return lambda _folder, scale: sound().SerializeToString() + tail(scale)


def _graph(data: bytes) -> bytes:
    """The sound file with more in its graph."""
    model = sound()
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    return bytes(model.SerializeToString()) + field(7, graph + data)


# Protobufs


def _nested(depth: int) -> Make:
    """Subgraphs inside each other."""

    def make(_folder: Path, _scale: float) -> bytes:
        node = field(1, field(4, b"Identity"))
        for _ in range(depth):
            node = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, node) + b"\xa0\x01\x05"))
        return _graph(node)

    return make


def _count(many: int, scale: float) -> int:
    return max(1, int(many * scale))


PROTOBUFS: dict[str, Make] = {
    "subgraphs nested 30 deep": _nested(30),
    "subgraphs nested 10,000 deep": _nested(10_000),
    "a length beyond the end": _after_sound(lambda scale: b"\x3a" + varint(2**40) + b"x"),
    "a length of 2^63": _after_sound(lambda scale: b"\x3a" + varint(2**63) + b"x"),
    "a varint of 11 bytes": _after_sound(lambda scale: b"\x08" + b"\x80" * 10 + b"\x01"),
    "a varint without an end": _after_sound(lambda scale: b"\x08" + b"\xff" * 1000),
    "overlong varints": _after_sound(lambda scale: b"\x08" + b"\x88" + b"\x80" * 8 + b"\x00"),
    "a group": _after_sound(lambda scale: b"\x0b" * _count(100_000, scale)),
    "the graph twice": lambda folder, scale: 2 * sound().SerializeToString(),
    "the graph 20,000 times": lambda folder, scale: sound().SerializeToString() * _count(20_000, scale),
    "field number 0": _after_sound(lambda scale: b"\x02\x00"),
    "a million fields that ONNX does not know": _after_sound(
        lambda scale: (varint(999 << 3) + b"\x01") * _count(1_000_000, scale)
    ),
}

# Counts


COUNTS: dict[str, Make] = {
    "a million nodes": lambda folder, scale: _graph(
        field(1, field(1, b"h0") + field(2, b"z") + field(4, b"Relu")) * _count(1_000_000, scale)
    ),
    "two million empty nodes": lambda folder, scale: _graph(field(1, b"") * _count(2_000_000, scale)),
    "two million empty initializers": lambda folder, scale: _graph(field(5, b"") * _count(2_000_000, scale)),
    "two million empty value_infos": lambda folder, scale: _graph(field(13, b"") * _count(2_000_000, scale)),
    "two million empty attributes": lambda folder, scale: _graph(
        field(1, field(4, b"Relu") + field(1, b"x") + field(2, b"z") + field(5, b"") * _count(2_000_000, scale))
    ),
    "two million empty dims": lambda folder, scale: _graph(
        field(12, field(1, b"z") + field(2, field(1, b"\x08\x01" + field(2, field(1, b"") * _count(2_000_000, scale)))))
    ),
    "two million opset imports": _after_sound(lambda scale: field(8, b"") * _count(2_000_000, scale)),
    "two million functions": _after_sound(lambda scale: field(25, b"") * _count(2_000_000, scale)),
    "a node of two million inputs": lambda folder, scale: _graph(
        field(1, field(4, b"Max") + field(2, b"z") + field(1, b"x") * _count(2_000_000, scale))
    ),
    "an attribute of four million numbers": lambda folder, scale: _graph(
        field(
            1,
            field(4, b"Transpose") + field(1, b"x") + field(2, b"z")
            + field(5, field(1, b"perm") + field(8, b"\x01" * _count(4_000_000, scale)) + b"\xa0\x01\x07"),
        )
    ),
    "a tensor of four million dims": lambda folder, scale: _graph(
        field(5, field(1, b"\x01" * _count(4_000_000, scale)) + b"\x10\x01" + field(8, b"w"))
    ),
}  # fmt: skip

# Metadata


def _prop(key: bytes, value: bytes) -> bytes:
    return field(14, field(1, key) + field(2, value))


METADATA: dict[str, Make] = {
    "a million metadata_props": _after_sound(lambda scale: _prop(b"", b"") * _count(1_000_000, scale)),
    "metadata of 32 MiB": _after_sound(lambda scale: _prop(b"key", b"v" * _count(2**25, scale))),
    "metadata of 32 MiB under rnnx's key": _after_sound(lambda scale: _prop(b"rnnx", b"[" * _count(2**25, scale))),
    "a doc_string of 32 MiB": _after_sound(lambda scale: field(6, b"d" * _count(2**25, scale))),
    "a node's name of 16 MiB": lambda folder, scale: _graph(
        field(1, field(4, b"Relu") + field(1, b"x") + field(2, b"z") + field(3, b"n" * _count(2**24, scale)))
    ),
    "an operator's name of 16 MiB": lambda folder, scale: _graph(
        field(1, field(4, b"O" * _count(2**24, scale)) + field(1, b"x") + field(2, b"z"))
    ),
    "a producer's name of 16 MiB": _after_sound(lambda scale: field(2, b"p" * _count(2**24, scale))),
}

# External data


def _outside(location: str, prepare: Callable[[Path], object] = lambda folder: None, **entries: str) -> Make:
    def make(folder: Path, _scale: float) -> bytes:
        prepare(folder)
        model = sound()
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)
        return bytes(model.SerializeToString())

    return make


def _weights(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(bytes(144))


def _sparse_file(folder: Path) -> None:
    with (folder / "sparse.bin").open("wb") as file:
        file.truncate(2**40)


EXTERNAL: dict[str, Make] = {
    "external data at an absolute path": _outside("/etc/passwd"),
    "external data above the folder": _outside("../outside.bin"),
    "external data by way of a folder and back": _outside("a/../../outside.bin"),
    "external data behind a link": _outside("link.bin", lambda folder: (folder / "link.bin").symlink_to("/etc/passwd")),
    "external data behind a linked folder": _outside(
        "linked/passwd", lambda folder: (folder / "linked").symlink_to("/etc")
    ),
    "external data in a FIFO": _outside("fifo.bin", lambda folder: os.mkfifo(folder / "fifo.bin")),
    "external data in a device": _outside("/dev/zero"),
    "external data in a folder": _outside("inner", lambda folder: (folder / "inner").mkdir()),
    "external data that is missing": _outside("nowhere.bin"),
    "external data with a null byte": _outside("a\0b"),
    "external data of no name": _outside(""),
    "external data of a name of 100,000 characters": _outside("n" * 100_000),
    "external data at a negative offset": _outside("weights.bin", _weights, offset="-4"),
    "external data beyond its file's end": _outside("weights.bin", _weights, offset="9" * 18, length="144"),
    "external data of a terabyte": _outside("sparse.bin", _sparse_file, length=str(2**40)),
    "external data whose offset is no number": _outside("weights.bin", _weights, offset="1e3"),
}

# Sizes that are claimed


def _claimed(operator: str, inputs: dict[str, Any], **attributes: Any) -> Make:
    """A node before the layer whose result is large: x is added to its first value."""

    def change(model: ModelProto) -> None:
        names = list(inputs)
        for name, value in inputs.items():
            if value is not None:
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        made = [helper.make_node(operator, names, ["large"], **attributes)]
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "none"))
        made += [
            helper.make_node("Shape", ["large"], ["size"]),
            helper.make_node("ReduceMin", ["size"], ["least"], keepdims=0),
            helper.make_node("Mul", ["least", "none"], ["nothing"]),
            helper.make_node("Cast", ["nothing"], ["nothing_float"], to=FLOAT),
            helper.make_node("Add", ["x", "nothing_float"], ["moved"]),
        ]
        model.graph.node[0].input[0] = "moved"
        kept = [NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend([*made, *kept])

    return _with(change)


def _dims(*dims: int, raw: bytes = b"", kind: int = FLOAT) -> Make:
    def change(model: ModelProto) -> None:
        model.graph.initializer.add(name="claimed", dims=dims, data_type=kind, raw_data=raw)
        model.graph.node.add(op_type="Identity", input=["claimed"], output=["unused"])

    return _with(change)


def _weight_dims(*dims: int) -> Make:
    def change(model: ModelProto) -> None:
        model.graph.initializer[0].dims[:] = dims

    return _with(change)


SIZES: dict[str, Make] = {
    "a weight of 4 TiB without data": _dims(2**40),
    "a weight of 4 GiB without data": _dims(2**30),
    "a weight whose dims overflow": _dims(2**32, 2**32),
    "a weight of negative dims": _dims(-1, 5, raw=bytes(20)),
    "W of 4 TiB": _weight_dims(1, 2**38, 4),
    "W with dims of 0": _weight_dims(1, 0, 3),
    "ConstantOfShape of 4 TiB": _claimed("ConstantOfShape", {"shape": [2**40]}),
    "ConstantOfShape of 2 GiB": _claimed("ConstantOfShape", {"shape": [2**29]}),
    "ConstantOfShape whose size overflows": _claimed("ConstantOfShape", {"shape": [2**40, 2**40]}),
    "Expand to 4 TiB": _claimed("Expand", {"one": np.zeros(1, np.float32), "shape": [2**40]}),
    "Expand to 2 GiB": _claimed("Expand", {"one": np.zeros(1, np.float32), "shape": [2**29]}),
    "Tile to 4 TiB": _claimed("Tile", {"one": np.zeros(1, np.float32), "repeats": [2**40]}),
    "Range of 8 TiB": _claimed("Range", {"start": np.int64(0), "limit": np.int64(2**40), "delta": np.int64(1)}),
    "Pad to 4 TiB": _claimed("Pad", {"one": np.zeros(1, np.float32), "pads": [2**40, 0]}),
    "OneHot of 4 TiB": _claimed(
        "OneHot", {"places": np.zeros(1, np.int64), "depth": np.int64(2**40), "values": np.zeros(2, np.float32)}
    ),
    "RandomNormal of 4 TiB": _claimed("RandomNormal", {}, shape=[2**40]),
    "inputs of 2^60 rows": _with(
        lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 2**60)
    ),
    "hidden_size of 2^40": _with(lambda model: setattr(model.graph.node[0].attribute[0], "i", 2**40)),
}

# Graphs without an end


def _functions(bodies: dict[str, list[str]]) -> Make:
    """Local functions by name, each calling others; `first` is called by the graph."""

    def change(model: ModelProto) -> None:
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        for name, calls in bodies.items():
            steps = [f"v{place}" for place in range(len(calls))]
            nodes = [
                helper.make_node(call, [source], [made], domain="" if call == "Relu" else "own")
                for call, source, made in zip(calls, ["v", *steps], steps, strict=False)
            ]
            function: FunctionProto = helper.make_function("own", name, ["v"], steps[-1:], nodes, opsets)
            model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("own", 1))
        model.graph.node[0].input[0] = "called"
        model.graph.node.insert(0, helper.make_node("first", ["x"], ["called"], domain="own"))

    return _with(change)


def _cycle(model: ModelProto) -> None:
    model.graph.node[0].input[0] = "turned"
    model.graph.node.add(op_type="Identity", input=["output"], output=["turned"])


def _own_body(model: ModelProto) -> None:
    """A subgraph that reads its own node's output."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["chosen"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", FLOAT, None)],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.insert(0, helper.make_node("If", ["yes"], ["chosen"], then_branch=body, else_branch=body))
    model.graph.node[1].input[0] = "chosen"


def _loop(turns: int) -> Make:
    """A Loop that makes the layer's input, of so many turns."""

    def change(model: ModelProto) -> None:
        condition, value = (helper.make_tensor_value_info(*own, None) for own in (("c", BOOL), ("v", FLOAT)))
        given, made = (helper.make_tensor_value_info(*own, None) for own in (("same", BOOL), ("next", FLOAT)))
        nodes = [helper.make_node("Identity", ["c"], ["same"]), helper.make_node("Sin", ["v"], ["next"])]
        turn = helper.make_tensor_value_info("turn", INT64, [])
        body = helper.make_graph(nodes, "body", [turn, condition, value], [given, made])
        constants = {"turns": np.array(turns, np.int64), "yes": np.array(True)}
        model.graph.initializer.extend(numpy_helper.from_array(own, name) for name, own in constants.items())
        model.graph.node.insert(0, helper.make_node("Loop", ["turns", "yes", "x"], ["turned"], body=body))
        model.graph.node[1].input[0] = "turned"

    return _with(change)


def _names(count: int) -> Make:
    """Values that are each made of the two before."""

    def make(_folder: Path, scale: float) -> bytes:
        model = sound()
        nodes = [helper.make_node("Add", ["x", "x"], ["a0"]), helper.make_node("Add", ["a0", "x"], ["a1"])]
        for place in range(2, _count(count, scale)):
            nodes.append(helper.make_node("Add", [f"a{place - 1}", f"a{place - 2}"], [f"a{place}"]))
        graph: GraphProto = model.graph
        graph.node[0].input[0] = nodes[-1].output[0]
        kept = [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
        del graph.node[:]
        graph.node.extend([*nodes, *kept])
        return bytes(model.SerializeToString())

    return make


ENDLESS: dict[str, Make] = {
    "a function that calls itself": _functions({"first": ["first"]}),
    "two functions that call each other": _functions({"first": ["second"], "second": ["first"]}),
    "sixty functions that each call the one before twice": _functions(
        {"first": ["f59", "f59"]} | {f"f{n}": [f"f{n - 1}"] * 2 for n in range(1, 60)} | {"f0": ["Relu"]}
    ),
    "a function of 7,900 nodes that is called ten times": _functions(
        {"first": ["body"] * 10, "body": ["Relu"] * 7_900}
    ),
    "a function that calls what is not there": _functions({"first": ["nowhere"]}),
    "a cycle of nodes": _with(_cycle),
    "a node that reads itself": _with(lambda model: model.graph.node[1].input.__setitem__(0, "output")),
    "a subgraph that reads its own node": _with(_own_body),
    "a chain of 7,990 nodes that each read two": _names(7_990),
    "a chain of 20,000 nodes that each read two": _names(20_000),
    "a loop of 2^62 turns": _loop(2**62),
    "an attribute that refers to a function's": _with(
        lambda model: model.graph.node[0].attribute.append(
            AttributeProto(name="direction", ref_attr_name="direction", type=AttributeProto.STRING)
        )
    ),
}

HOSTILE: dict[str, dict[str, Make]] = {
    "forged protobufs": PROTOBUFS,
    "counts": COUNTS,
    "metadata": METADATA,
    "external data": EXTERNAL,
    "claimed sizes": SIZES,
    "no end": ENDLESS,
}
"""Every file by its kind and its name."""
