"""Pickles drawn from a grammar of what `torch.save` writes, with numbers, names and nesting that it would not write."""

import random
import struct
from collections.abc import Callable

Chance = random.Random

SIZES = [0, 1, 2, 3, 4, 8, 12, 16, 100, 2**20, 2**31 - 1, -1, -(2**31)]
WIDE = [2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, -(2**63), 2**200]
STORAGES = ["Float", "Double", "Half", "Long", "Byte", "Bool", "ComplexDouble", "QInt8", "Unknown"]
GLOBALS = [
    *(
        "torch Size",
        "torch device",
        "torch Tensor",
        "torch FloatStorage",
        "torch float32",
        "torch.storage UntypedStorage",
    ),
    *("builtins bytearray", "__builtin__ set", "builtins complex", "_codecs encode", "collections Counter"),
    *("collections OrderedDict", "torch.nn.parameter Parameter", "torch.serialization _get_layout", "os system"),
    *("torch._utils _rebuild_meta_tensor_no_storage", "torch._utils _rebuild_wrapper_subclass"),
    *("torch._utils _rebuild_device_tensor_from_cpu_tensor", "torch._utils _rebuild_nested_tensor"),
    *(
        "torch._utils _rebuild_sparse_tensor",
        "torch._utils _rebuild_qtensor",
        "torch.FloatTensor x",
        "torch FloatTensor",
    ),
    *("torch.sparse FloatTensor", "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v3"),
]


def number(value: int) -> bytes:
    """A whole number as pickle writes it."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def text(value: str) -> bytes:
    """Text as pickle writes it, halves of surrogate pairs too."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def name(path: str) -> bytes:
    """A global: `module name`."""
    return b"c" + path.replace(" ", "\n").encode() + b"\n"


def sized(chance: Chance) -> int:
    """A size, mostly a small one."""
    return chance.choice(SIZES[1:8]) if chance.random() < 0.8 else chance.choice(SIZES + WIDE)


def storage(chance: Chance, kind: str = "", key: str = "", count: int | None = None, legacy: bool = False) -> bytes:
    """A reference to a storage, mostly to one that is there."""
    kind = kind or (chance.choice(STORAGES) if chance.random() < 0.2 else "Float")
    key = key or chance.choice("00001239")
    count = count if count is not None else (sized(chance) if chance.random() < 0.1 else 16)
    view = (b"N" if chance.random() < 0.9 else b"(" + text("v") + number(sized(chance)) * 2 + b"t") if legacy else b""
    return (
        b"(" + text("storage") + name(f"torch {kind}Storage") + text(key) + text("cpu") + number(count) + view + b"tQ"
    )


def tensor(chance: Chance, legacy: bool = False) -> bytes:
    """A tensor whose view mostly lies within its storage."""
    if chance.random() < 0.6:
        rows, columns = chance.choice([(4, 4), (2, 3), (16, 1), (1, 1), (0, 4)])
        shape, strides, offset = [rows, columns], [columns, 1], 0
    else:
        axes = chance.choice([0, 1, 2, 3, 3, 65])
        shape, strides = [sized(chance) for _ in range(axes)], [sized(chance) for _ in range(axes)]
        offset = sized(chance)
    numbers = [b"(" + b"".join(map(number, part)) + b"t" for part in (shape, strides)]
    hooks = name("collections OrderedDict") + b")R" if chance.random() < 0.95 else value(chance, 2, legacy)
    grad = b"\x89" if chance.random() < 0.95 else value(chance, 1, legacy)
    version = "torch._utils _rebuild_tensor_v2"
    return (
        name(version)
        + b"("
        + storage(chance, legacy=legacy)
        + number(offset)
        + b"".join(numbers)
        + grad
        + hooks
        + b"tR"
    )


def parameter(chance: Chance, legacy: bool) -> bytes:
    """A parameter, some of them with attributes."""
    hooks = name("collections OrderedDict") + b")R"
    if chance.random() < 0.5:
        return name("torch._utils _rebuild_parameter") + b"(" + tensor(chance, legacy) + b"\x89" + hooks + b"tR"
    state = (
        b"}" + text(chance.choice(["detach", "shape", "data", "__class__", "grad"])) + value(chance, 1, legacy) + b"s"
    )
    return (
        name("torch._utils _rebuild_parameter_with_state")
        + b"("
        + tensor(chance, legacy)
        + b"\x89"
        + hooks
        + state
        + b"tR"
    )


def sparse(chance: Chance, legacy: bool) -> bytes:
    """A sparse tensor, most of them with indices that lie anywhere."""
    layout = chance.choice(["coo", "csr", "csc", "bsr", "bsc", "none"])
    parts = b"".join(tensor(chance, legacy) for _ in range(2 if layout == "coo" else 3))
    size = name("torch Size") + b"((" + number(sized(chance)) + number(sized(chance)) + b"ttR"
    kind = name("torch.serialization _get_layout") + b"(" + text(f"torch.sparse_{layout}") + b"tR"
    return name("torch._utils _rebuild_sparse_tensor") + b"(" + kind + b"(" + parts + size + b"ttR"


def call(chance: Chance, legacy: bool) -> bytes:
    """Any allowed global, or another one, called with anything, made anew with it, or given a state."""
    arguments = b"(" + b"".join(value(chance, 1, legacy) for _ in range(chance.randint(0, 4))) + b"t"
    made = name(chance.choice(GLOBALS)) + arguments + chance.choice([b"R", b"R", b"\x81"])
    return made + (value(chance, 1, legacy) + b"b" if chance.random() < 0.3 else b"")


def doubling(chance: Chance, legacy: bool) -> bytes:
    """A container that holds its own half twice, many levels deep: as a value, or as a key."""
    depth = chance.choice([5, 30, 60])
    kind = chance.choice([b"\x86", b"\x86", b"list"])
    start = b")q\x64"
    if kind == b"list":
        pairs = b"".join(b"](h%ch%ceq%c" % (100 + i, 100 + i, 101 + i) for i in range(depth))
    else:
        pairs = b"".join(b"h%ch%c\x86q%c" % (100 + i, 100 + i, 101 + i) for i in range(depth))
    return (b"}(" + start + pairs + b"tNs") if chance.random() < 0.5 else start + pairs


def deep(chance: Chance, legacy: bool) -> bytes:
    """Containers in containers, up to thousands of levels."""
    depth = chance.choice([10, 90, 110, 1_000, 20_000])
    return chance.choice(
        [
            b")" + b"\x85" * depth,
            b"]" * depth + b"a" * (depth - 1),
            b"}" * depth + b"",
            b"}K\x01" * depth + b"N" + b"s" * depth,
            b"}" + b")" + b"\x85" * depth + b"Ns",
            name("collections OrderedDict") + b")R" + b"}" + text("x") + b"}" * depth + b"sb",
            b"(" * depth + b"t" * depth,
        ]
    )


def odd(chance: Chance, legacy: bool) -> bytes:
    """Single operations with arguments that are out of bounds, or that torch's unpickler does not know."""
    return chance.choice(
        [
            b"X" + struct.pack("<I", 2**32 - 1),
            b"X" + struct.pack("<I", chance.randint(0, 300)) + b"\xff" * 20,
            b"h" + bytes([chance.randrange(256)]),
            b"j" + struct.pack("<I", 2**31),
            b"Nr" + struct.pack("<I", 2**32 - 1),
            b"\x8b" + struct.pack("<i", 2**31 - 1),
            b"\x8d" + struct.pack("<Q", 2**63),
            b"\x8e" + struct.pack("<Q", 2**62),
            b"\x8a\xff" + b"\x7f" * 255,
            b"U\xff" + b"a" * 255,
            b"I" + b"9" * 5000 + b"\n",
            b"(NNN" + chance.choice([b"u", b"e", b"t", b"s", b"a", b"R", b"Q", b"b"]),
            b"\x8f",
            b"c" + b"a" * 3000,
            b"}" + b"".join(number(j * (2**61 - 1)) + b"Ns" for j in range(chance.choice([10, 2000]))),
            name("builtins bytearray") + number(10**12) + b"\x85R",
            name("torch Tensor") + number(10**11) + b"\x85R",
            name("_codecs encode") + text("é" * 50_000) + text("punycode") + b"\x86R",
        ]
    )


_SIMPLE: list[Callable[[Chance], bytes]] = [
    lambda chance: number(sized(chance)),
    lambda chance: number(chance.choice(SIZES + WIDE)),
    lambda chance: text(chance.choice(["a", "é", "", "\ud800", "x" * 5000, "torch.sparse_coo", "latin1"])),
    lambda chance: b"N",
    lambda chance: chance.choice([b"\x88", b"\x89"]),
    lambda chance: b"G" + struct.pack(">d", chance.choice([0.0, 1.5, float("nan"), 1e308])),
    lambda chance: name(chance.choice(GLOBALS)),
    lambda chance: chance.choice([b")", b"]", b"}"]),
]


def value(chance: Chance, depth: int, legacy: bool) -> bytes:
    """Any value; `depth` bounds how much it nests."""
    if depth == 0 or chance.random() < 0.4:
        return chance.choice(_SIMPLE)(chance)
    inner = [value(chance, depth - 1, legacy) for _ in range(chance.randint(0, 3))]
    kinds: list[Callable[[], bytes]] = [
        lambda: b"(" + b"".join(inner) + b"t",
        lambda: b"](" + b"".join(inner) + b"e",
        lambda: b"}(" + b"".join(part for pair in zip(inner, reversed(inner), strict=True) for part in pair) + b"u",
        lambda: tensor(chance, legacy),
        lambda: tensor(chance, legacy),
        lambda: parameter(chance, legacy),
        lambda: sparse(chance, legacy),
        lambda: call(chance, legacy),
    ]
    return chance.choice(kinds)()


def checkpoint(chance: Chance, legacy: bool = False) -> bytes:
    """A state dict: a layer that is mostly sound, and beside it whatever the grammar makes."""
    keys = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    shapes = [(8, 2), (8, 2), (8,), (8,)]
    items = b""
    for key, shape in zip(keys, shapes, strict=True):
        if chance.random() < 0.9:
            strides = (shape[1], 1) if len(shape) == 2 else (1,)
            numbers = b"".join(b"(" + b"".join(map(number, part)) + b"t" for part in (shape, strides))
            made = (
                name("torch._utils _rebuild_tensor_v2")
                + b"("
                + storage(chance, "Float", chance.choice("012"), 16, legacy)
            )
            items += text(key) + made + b"K\x00" + numbers + b"\x89" + name("collections OrderedDict") + b")RtR"
        else:
            items += text(key) + value(chance, 3, legacy)
    for number_ in range(chance.randint(0, 3)):
        extra = chance.choice([None, None, doubling, deep, odd])
        made = value(chance, 3, legacy) if extra is None else extra(chance, legacy)
        items += (text(f"extra{number_}") if chance.random() < 0.9 else value(chance, 2, legacy)) + made
    data = b"\x80\x02}(" + items + b"u."
    if chance.random() < 0.1:
        place = chance.randrange(2, len(data))
        data = data[:place] + chance.randbytes(chance.randint(0, 3)) + data[place + chance.randint(0, 2) :]
    return data
