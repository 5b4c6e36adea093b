"""Seeded .onnx files that no exporter writes: valid protobufs whose parts lie, and bytes that are none.

Each is a sound model with one to three parts changed by the grammar below, or a construction of its own.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, parser
from tests.rnnx_runtime.faults.corruption import faults

Change = Callable[[ModelProto, random.Random], object]

_LAYERS = """<ir_version: 9, opset_import: ["" : 17, "local" : 1], producer_name: "maker", producer_version: "1.2">
g (float[T, B, 3] x, float[1, B, 4] h0, bool go) => (float[T, B, 4] y, float[M] z)
<int64[3] shape = {0, 0, -1}, int64[1] axes = {1}, int64[1] first = {0},
 int8[2, 2] q = {1, 2, 3, 4}, float s = {0.5}, int64 trips = {7}, bool yes = {1}> {
    [lstm] Y, Yh, Yc = LSTM <hidden_size = 4, direction = "forward"> (x, W, R, , , h0)
    [squeeze] squeezed = Squeeze (Y, axes)
    [turn] turned = Transpose <perm = [1, 0, 2]> (squeezed)
    [back] back = Transpose <perm = [1, 0, 2]> (turned)
    [shape] flat = Reshape (back, shape)
    [cut] piece = Slice (flat, first, axes, first)
    [split] left, right = Split <axis = 2> (flat)
    [join] joined = Concat <axis = 2> (left, right)
    [weight] weight = DequantizeLinear (q, s)
    [length] length = Shape (x)
    [pick] steps = Gather <axis = 0> (length, first)
    [choose] chosen = If (go) <
        then_branch = t () => (float[N] p) { p = Identity (x) },
        else_branch = e () => (float[N] r) { [inner] c = Constant <value_ints = [1, 2]> () r = Reshape (x, c) }>
    [loop] Lh, stack = Loop (trips, yes, Yh) <
        body = b (int64 i, bool c, float[1, B, 4] h) => (bool k, float[1, B, 4] n, float[B, 4] o) {
            k = Identity (c)
            one = Constant <value_int = 0> ()
            xt = Gather (x, i)
            n = Tanh (h)
            o = Squeeze (n, first)
        }>
    [scan] Sh, ys = Scan <num_scan_inputs = 1,
        body = d (float[1, B, 4] a, float[B, 3] e) => (float[1, B, 4] f, float[B, 3] u) {
            f = Sigmoid (a)
            u = Identity (e)
        }> (Yh, x)
    [called] z = local.twice (joined)
    [end] y = Add (joined, flat)
}
<domain: "local", opset_import: ["" : 17]>
twice (v) => (w) { [doubled] w = Add (v, v) }
"""

DIMS = (0, -1, -(2**63), 1, 2**31, 2**62, 2**63 - 1)
TEXTS = ("", "x", "\x1b]0;owned\x07", "\u202egnp", "y" * 2**16, "..", "/dev/zero", "a/../b")
CONTRACTS = (
    "", "[]", "5", "null", "{}", '{"cell": []}', '{"cell": {}}', '{"recurrent": 5}', '{"recurrent": [1, {"cell": 2}]}',
    '{"recurrent": [{"cell": ["lstm"]}]}', "[" * 100_000, '{"a":' * 100_000, "NaN", "9" * 5_000, '"\\ud800"',
    '{"cell": "lstm", "recurrent": null}', '{"form": "model", "cell": Infinity}', "\x00", "{" + '"k":1,' * 20_000,
)  # fmt: skip


def sound_model() -> ModelProto:
    """A graph with every kind of part that a rule reads: layers, loops, branches, a function, small constants."""
    model = parser.parse_model(_LAYERS)
    for name, dims in (("W", (1, 16, 3)), ("R", (1, 16, 4))):
        model.graph.initializer.append(
            helper.make_tensor(name, TensorProto.FLOAT, dims, bytes(4 * prod(dims)), raw=True)
        )
    return model


def forged_models(seed: int, count: int, sound: Sequence[ModelProto]) -> Iterator[tuple[str, bytes]]:
    """`count` files, each with the names of what was done to it."""
    chance = random.Random(seed)
    bytes_of = [model.SerializeToString() for model in sound]
    damaged = [faults(data, bytes_of, seed + place, count) for place, data in enumerate(bytes_of)]
    built = list(constructions())
    for number in range(count):
        if number < len(built):
            yield built[number]
        elif number % 4 == 0:
            yield next(damaged[number // 4 % len(damaged)])
        else:
            yield _changed(chance.choice(sound), chance)


def constructions() -> Iterator[tuple[str, bytes]]:
    """Files that are made whole: nesting, sizes and texts that no change of a part gives."""
    sound = sound_model().SerializeToString()
    for depth in (10, 33, 60, 1_000, 100_000):
        yield f"{depth} nested graphs", sound + _nested(depth, b"\x3a", b"\x0a", b"\x2a", b"\x32")
        yield f"{depth} nested unknown messages", sound + _nested(depth, b"\xfa\x3e")
        yield f"{depth} open groups", sound + b"\xfb\x3e" * depth
        yield f"{depth} closed groups", sound + b"\xfb\x3e" * depth + b"\xfc\x3e" * depth
    yield "nothing", b""
    yield "text", b"# not a model\n" * 9
    yield "JSON", b'{"graph": {}}'
    yield "zeros", bytes(4096)
    yield "a length beyond the end", sound[:-1] + b"\x3a\xff\xff\xff\xff\x0f"
    yield "a number without an end", sound + b"\x08" + b"\xff" * 64
    yield "a graph of another wire type", sound + b"\x38\x01"
    yield "a million empty nodes", sound + _field(b"\x3a", b"\x0a\x00" * 200_000)
    for text in CONTRACTS:
        model = sound_model()
        model.metadata_props.add(key="rnnx", value=text)
        yield f"the contract {text[:20]!r}", model.SerializeToString()
    for name in ("twice", "other"):
        model = sound_model()
        model.functions[0].node.add(op_type=name, domain="local", input=["w"], output=["again"])
        if name == "other":
            other = model.functions.add()
            other.CopyFrom(model.functions[0])
            other.name = "other"
            other.node[-1].op_type = "twice"
        yield f"a function that calls itself through {name}", model.SerializeToString()


def _nested(depth: int, *tags: bytes) -> bytes:
    """Messages inside each other under the tags in turn, one round of them for each level."""
    sizes, total = [], 0
    for place in range(depth * len(tags) - 1, -1, -1):
        head = tags[place % len(tags)] + _varint(total)
        sizes.append(head)
        total += len(head)
    return b"".join(reversed(sizes))


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def _changed(sound: ModelProto, chance: random.Random) -> tuple[str, bytes]:
    model, names = ModelProto(), []
    model.CopyFrom(sound)
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(list(CHANGES))
        CHANGES[name](model, chance)
        names.append(name)
    data = model.SerializeToString()
    if chance.random() < 0.1:
        return "+".join([*names, "no UTF-8"]), data.replace(
            chance.choice((b"lstm", b"maker", b"Yh", b"flat")), b"\xff\xfe", 1
        )
    return "+".join(names), data


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _any_graph(model: ModelProto, chance: random.Random) -> GraphProto:
    return chance.choice(list(_graphs(model.graph)))


def _any_node(model: ModelProto, chance: random.Random) -> NodeProto:
    lists = [graph.node for graph in _graphs(model.graph)] + [own.node for own in model.functions]
    node: NodeProto = chance.choice(chance.choice([nodes for nodes in lists if nodes] or [[NodeProto()]]))
    return node


def _any_tensor(model: ModelProto, chance: random.Random) -> TensorProto:
    found = [tensor for graph in _graphs(model.graph) for tensor in graph.initializer]
    found += [
        own.t for graph in _graphs(model.graph) for node in graph.node for own in node.attribute if own.HasField("t")
    ]
    tensor: TensorProto = chance.choice(found or [TensorProto()])
    return tensor


def _any_attribute(model: ModelProto, chance: random.Random) -> AttributeProto:
    nodes = [node for graph in _graphs(model.graph) for node in graph.node if node.attribute]
    return chance.choice(chance.choice(nodes).attribute) if nodes else AttributeProto()


def _name(model: ModelProto, chance: random.Random) -> str:
    node = _any_node(model, chance)
    name: str = chance.choice([*node.input, *node.output, *TEXTS])
    return name


def _rewire(model: ModelProto, chance: random.Random) -> None:
    node = _any_node(model, chance)
    names: Any = chance.choice([node.input, node.output])
    action = chance.choice(["replace", "drop", "add", "clear", "own"])
    if action == "add" or not names:
        names.append(_name(model, chance))
    elif action == "replace":
        names[chance.randrange(len(names))] = _name(model, chance)
    elif action == "drop":
        del names[chance.randrange(len(names))]
    elif action == "clear":
        del names[:]
    else:
        names[0] = chance.choice([*node.output, *node.input])


def _data(model: ModelProto, chance: random.Random) -> None:
    tensor = _any_tensor(model, chance)
    action = chance.choice(["short", "long", "both", "external", "strings", "none"])
    if action == "short":
        tensor.raw_data = tensor.raw_data[:-1]
    elif action == "long":
        tensor.raw_data = tensor.raw_data + bytes(chance.choice([1, 8, 4096]))
    elif action == "both":
        tensor.float_data.append(1.0)
        tensor.raw_data = b"1234"
    elif action == "strings":
        tensor.string_data.append(b"\xff")
        tensor.data_type = TensorProto.STRING
    elif action == "none":
        tensor.ClearField("raw_data")
        del tensor.float_data[:], tensor.int64_data[:], tensor.int32_data[:]
    else:
        tensor.data_location = chance.choice([TensorProto.EXTERNAL, TensorProto.DEFAULT])
        for _ in range(chance.randint(1, 2)):
            tensor.external_data.add(
                key="location",
                value=chance.choice(["", "..", "../x", "/etc/hostname", "a\0b", "fifo", ".", "n" * 5000]),
            )
        tensor.external_data.add(
            key=chance.choice(["offset", "length", "what"]), value=chance.choice(["-1", "x", "9" * 30, ""])
        )


def _attribute(model: ModelProto, chance: random.Random) -> None:
    own = _any_attribute(model, chance)
    action = chance.choice(["int", "ints", "type", "name", "ref", "string", "graphs", "float"])
    if action == "int":
        own.i = chance.choice(DIMS)
    elif action == "ints":
        own.ints[:] = chance.choices(DIMS, k=chance.randint(0, 5))
    elif action == "type":
        own.type = chance.choice(list(AttributeProto.AttributeType.values()))
    elif action == "name":
        own.name = chance.choice(TEXTS)
    elif action == "ref":
        own.ref_attr_name = "r"
    elif action == "string":
        own.s = chance.choice([b"\xff", b"bidirectional", b"reverse", b""])
    elif action == "graphs":
        own.graphs.add()
    else:
        own.f = chance.choice([float("nan"), float("inf")])


def _declared(model: ModelProto, chance: random.Random) -> None:
    graph = _any_graph(model, chance)
    values = chance.choice([graph.input, graph.output, graph.value_info])
    value = values.add() if not values else chance.choice(values)
    action = chance.choice(["dims", "name", "type", "drop", "sequence"])
    if action == "dims":
        value.type.tensor_type.shape.dim.add().dim_value = chance.choice(DIMS)
    elif action == "name":
        value.name = chance.choice(TEXTS)
    elif action == "type":
        value.type.tensor_type.elem_type = chance.choice([0, -1, 8, 14, 99])
    elif action == "sequence":
        value.type.sequence_type.elem_type.tensor_type.elem_type = 1
    else:
        del values[:]


def _operator(model: ModelProto, chance: random.Random) -> None:
    node = _any_node(model, chance)
    kinds = [
        "",
        "LSTM",
        "GRU",
        "RNN",
        "Loop",
        "Scan",
        "If",
        "Constant",
        "Reshape",
        "Slice",
        "Split",
        "Gather",
        "Concat",
    ]
    kinds += [
        "Transpose",
        "MatMul",
        "Cast",
        "Squeeze",
        "Unsqueeze",
        "MatMulInteger",
        "DynamicQuantizeLSTM",
        "twice",
        "\x1b",
    ]
    node.op_type = chance.choice(kinds)
    node.domain = chance.choice(["", "", "ai.onnx", "com.microsoft", "local", "no.such"])


def _opset(model: ModelProto, chance: random.Random) -> None:
    if chance.random() < 0.3:
        del model.opset_import[:]
    else:
        own = chance.choice(model.opset_import) if model.opset_import else model.opset_import.add()
        own.version = chance.choice([0, -1, 1, 6, 11, 12, 13, 99, 2**62])


def _copy_node(model: ModelProto, chance: random.Random) -> None:
    graph = _any_graph(model, chance)
    own = NodeProto()
    own.CopyFrom(_any_node(model, chance))  # apart first: the graph may be inside of it
    graph.node.append(own)


CHANGES: dict[str, Change] = {
    "wires": _rewire,
    "data": _data,
    "dims": lambda model, chance: _any_tensor(model, chance).dims.append(chance.choice(DIMS)),
    "no dims": lambda model, chance: _any_tensor(model, chance).ClearField("dims"),
    "dtype": lambda model, chance: setattr(
        _any_tensor(model, chance), "data_type", chance.choice([0, 1, 7, 8, 16, 22, 99])
    ),
    "tensor name": lambda model, chance: setattr(_any_tensor(model, chance), "name", chance.choice(TEXTS)),
    "node name": lambda model, chance: setattr(_any_node(model, chance), "name", chance.choice(TEXTS)),
    "operator": _operator,
    "attribute": _attribute,
    "no attributes": lambda model, chance: _any_node(model, chance).ClearField("attribute"),
    "declared": _declared,
    "opset": _opset,
    "producer": lambda model, chance: setattr(model, "producer_name", chance.choice(TEXTS)),
    "producer version": lambda model, chance: setattr(model, "producer_version", chance.choice([*TEXTS, "1..x"])),
    "contract": lambda model, chance: model.metadata_props.add(key="rnnx", value=chance.choice(CONTRACTS)),
    "copied node": _copy_node,
    "no functions": lambda model, chance: model.ClearField("functions"),
    "no graph": lambda model, chance: model.graph.ClearField(chance.choice(["node", "input", "output", "initializer"])),
}
