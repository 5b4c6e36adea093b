"""Forged files of every kind that rnnx reads: each is decided by its number and a seed."""

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.rnnx.weights.forgery import pickle_grammar

Chance = random.Random

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
BOMB = 30_000_000
"""Bytes that deflate packs into a thousandth of it."""


def zipped(members: list[tuple[str, bytes]], chance: Chance) -> bytes:
    """A zip as torch lays it out, or with members packed, given twice, or of other bytes."""
    out = io.BytesIO()
    method = chance.choice([zipfile.ZIP_STORED] * 5 + [zipfile.ZIP_DEFLATED] * 2 + [zipfile.ZIP_BZIP2])
    if chance.random() < 0.05:
        members.append((chance.choice(members)[0].swapcase() if chance.random() < 0.5 else members[0][0], b"other"))
    if chance.random() < 0.03:
        method, place = zipfile.ZIP_DEFLATED, chance.randrange(len(members))
        members[place] = (members[place][0], bytes(BOMB))
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def misled(data: bytes, chance: Chance) -> bytes:
    """A zip whose records say what is not so."""
    if chance.random() < 0.5:
        return data
    marks = [b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"]
    forged = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        mark = chance.choice(marks)
        places = [i for i in range(len(data) - 4) if data.startswith(mark, i)]
        if places:
            place = chance.choice(places) + chance.randrange(
                4, 46 if mark == marks[0] else 30 if mark == marks[1] else 22
            )
            field = chance.choice(
                [b"\0\0", b"\xff\xff", b"\x08\0", b"\x01\0", chance.randbytes(2), chance.randbytes(4)]
            )
            forged[place : place + len(field)] = field
    end = data.rfind(marks[2])
    extra = chance.random()
    if extra < 0.2:
        locator = struct.pack(
            "<4sIQI", b"PK\x06\x07", chance.choice([0, 5]), chance.choice([end, 0, 2**63]), chance.choice([1, 9])
        )
        record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 3, 3, chance.choice([99, 2**60]), end)
        forged = bytearray(data[:end] + record + locator + data[end:])
    elif extra < 0.3:
        forged = bytearray(chance.randbytes(7)) + forged
    elif extra < 0.4:
        forged += chance.choice([b"junk", bytes(30), data[:200], data])
    elif extra < 0.5:
        del forged[chance.randrange(len(forged)) :]
    return bytes(forged)


def _members(pickled: bytes, chance: Chance) -> list[tuple[str, bytes]]:
    order = chance.choice([b"little"] * 6 + [b"big", b"middle", b"", b"\xff"])
    storages = [(f"archive/data/{key}", chance.randbytes(64)) for key in "012"]
    version = chance.choice([b"3\n"] * 9 + [b"99999999999\n", b"x"])
    rest = [("archive/byteorder", order), *storages, ("archive/version", version)]
    if chance.random() < 0.1:
        rest.append(("archive/.format_version", chance.choice([b"1", b"9" * 100])))
    if chance.random() < 0.1:
        rest.append(("archive/.storage_alignment", chance.choice([b"64", b"-1", b"x", b"9" * 5000])))
    if chance.random() < 0.02:
        del rest[chance.randrange(len(rest))]
    return [("archive/data.pkl", pickled), *rest]


def pickled_zip(chance: Chance) -> tuple[str, bytes]:
    """What `torch.save` writes, the pickle drawn from a grammar, the zip mostly sound."""
    data = zipped(_members(pickle_grammar.checkpoint(chance), chance), chance)
    return "pt", data if chance.random() < 0.8 else misled(data, chance)


def sound_pickle_in_a_forged_zip(chance: Chance) -> tuple[str, bytes]:
    """A state dict that is sound in a zip that is not."""
    keys = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    rebuild = pickle_grammar.name("torch._utils _rebuild_tensor_v2") + b"("
    rest = b"\x89" + pickle_grammar.name("collections OrderedDict") + b")RtR"
    shapes = [b"(K\x08K\x02t(K\x02K\x01t"] * 2 + [b"(K\x08t(K\x01t"] * 2
    pickled = b"\x80\x02}(" + b"".join(
        pickle_grammar.text(key) + rebuild + pickle_grammar.storage(chance, "Float", "0", 16) + b"K\x00" + shape + rest
        for key, shape in zip(keys, shapes, strict=True)
    )
    return "pt", misled(zipped(_members(pickled + b"u.", chance), chance), chance)


def legacy(chance: Chance) -> tuple[str, bytes]:
    """A run of pickles and storages as before torch 1.6, or the start of a tar."""
    keys = ["0", "1", "2"] if chance.random() < 0.8 else chance.choice([[], ["0", "0"], ["7"], ["2", "1", "0"]])
    listed = b"\x80\x02](" + b"".join(map(pickle_grammar.text, keys)) + b"e."
    counts = [16 if chance.random() < 0.95 else pickle_grammar.sized(chance) % 2**40 for _ in keys]
    storages = b"".join(struct.pack("<q", count) + chance.randbytes(64) for count in counts)
    body = pickle_grammar.checkpoint(chance, legacy=True)
    data = MAGIC + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + body + listed + storages
    if chance.random() < 0.1:
        header = bytearray(data[:512].ljust(512, b"\0"))
        header[124:136], header[156:157], header[257:263] = b"77777777777\0", b"x", b"ustar\0"
        header[148:156] = b" " * 8
        header[148:156] = f"{sum(header):06o}\0 ".encode()
        data = bytes(header) + data[512:]
    return "pt", data if chance.random() < 0.9 else data[: chance.randrange(len(data))]


def torchscript(chance: Chance) -> tuple[str, bytes]:
    """A zip with TorchScript's mark, its module tree drawn from the grammar."""
    module = b"c__torch__\nM\n)\x81}("
    items = b""
    for key in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "x"):
        inner = pickle_grammar.tensor(chance) if chance.random() < 0.7 else pickle_grammar.value(chance, 3, False)
        items += pickle_grammar.text(key if chance.random() < 0.95 else key * 900) + inner
    tree = module + items + b"ub"
    for _ in range(chance.choice([0, 0, 1, 30, 300])):
        tree = module + pickle_grammar.text(chance.choice(["a", "module"])) + tree + b"ub"
    members = _members(b"\x80\x02" + tree + b".", chance)
    members.append(("archive/constants.pkl", b"\x80\x02)."))
    return "pt", misled(zipped(members, chance), chance)


def _json(chance: Chance, depth: int) -> Any:
    simple: list[Any] = [0, 1, -1, 2**63, 1.5, None, True, "", "x" * 50, {"as_int": 4}, [], {}]
    if depth == 0 or chance.random() < 0.5:
        return chance.choice(simple)
    inner = [_json(chance, depth - 1) for _ in range(chance.randint(0, 4))]
    return inner if chance.random() < 0.5 else {chance.choice("abcdef") + str(i): own for i, own in enumerate(inner)}


def exported_program(chance: Chance) -> tuple[str, bytes]:
    """A `.pt2` with its weights described by JSON that is mostly of the right form."""

    def size(value: int) -> Any:
        return {"as_int": value if chance.random() < 0.95 else pickle_grammar.sized(chance)}

    config: dict[str, Any] = {}
    for key, shape in {"weight_ih_l0": (8, 2), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}.items():
        strides = (2, 1)[-len(shape) :]
        meta = {"dtype": 7, "sizes": [*map(size, shape)], "strides": [*map(size, strides)], "layout": 7}
        meta["storage_offset"] = size(0)
        config[key] = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": meta}
        if chance.random() < 0.1:
            part = chance.choice([config[key], meta])
            part[chance.choice(list(part))] = _json(chance, 3)
    text = json.dumps({"config": config} if chance.random() < 0.9 else _json(chance, 5)).encode()
    if chance.random() < 0.1:
        text = chance.choice(
            [b"[" * 100_000, b'{"a":' * 50_000, b'{"config":' + b"[" * 5000 + b"]" * 5000 + b"}", b"\xff{}"]
        )
    members = [("m/archive_format", b"pt2"), ("m/byteorder", b"little"), ("m/models/model.json", b"{}")]
    members += [("m/data/weights/model_weights_config.json", text), ("m/data/weights/weight_0", chance.randbytes(64))]
    return "pt2", misled(zipped(members, chance), chance)


def safetensors(chance: Chance) -> tuple[str, bytes]:
    """A safetensors file whose header is mostly of the right form."""
    header: dict[str, Any] = {"__metadata__": {"a": "b"}} if chance.random() < 0.5 else {}
    place = 0
    for key, shape in {"weight_ih_l0": [8, 2], "weight_hh_l0": [8, 2], "bias_ih_l0": [8], "bias_hh_l0": [8]}.items():
        dtype = "F32" if chance.random() < 0.9 else chance.choice(["F64", "BF16", "F8_E4M3", "I64", "BOOL", "X", "C64"])
        length = 4 * (shape[0] * (shape[1] if len(shape) == 2 else 1))
        offsets = [place, place + length]
        place += length
        if chance.random() < 0.05:
            offsets[chance.randrange(2)] = pickle_grammar.sized(chance)
        if chance.random() < 0.05:
            shape[0] = pickle_grammar.sized(chance)
        header[key if chance.random() < 0.95 else key + "\ud800"] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": offsets,
        }
        if chance.random() < 0.03:
            header[key] = _json(chance, 3)
    text = json.dumps(header).encode()
    if chance.random() < 0.1:
        text = chance.choice([b"[" * 100_000, b'{"a":' * 50_000, b"{}", b"", text + b" " * 9, text[:-1]])
    length = len(text) if chance.random() < 0.95 else chance.choice([0, 1, 2**31, 2**63, 2**64 - 1])
    return "safetensors", struct.pack("<Q", length) + text + chance.randbytes(place + chance.choice([0, 0, 0, 1, -1]))


def _field(number: int, kind: int, payload: bytes) -> bytes:
    tag = _varint(number << 3 | kind)
    return tag + (_varint(len(payload)) if kind == 2 else b"") + payload


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _message(chance: Chance, depth: int) -> bytes:
    """Fields of any number and type, some of them messages again."""
    data = b""
    for _ in range(chance.randint(0, 4)):
        number = chance.choice([1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 20, 100, 2**29 - 1])
        inner = (
            _message(chance, depth - 1)
            if depth and chance.random() < 0.6
            else chance.choice(
                [b"", b"LSTM", b"Scan", b"x" * 300, b"\xff\xfe", b"rnnx", b'{"a":' * 300, chance.randbytes(9)]
            )
        )
        kind = chance.choice([2, 2, 2, 0, 1, 5, 3, 7])
        payload = {0: _varint(chance.choice([0, 1, 7, 2**63])), 1: bytes(8), 5: bytes(4)}.get(kind, inner)
        data += _field(number, kind, payload)
    return data


def onnx(chance: Chance) -> tuple[str, bytes]:
    """A protobuf as an ONNX model, with nodes, contracts and tensors of any fields, or as deep as it likes."""
    from onnx import TensorProto, helper

    if chance.random() < 0.3:
        return "onnx", _message(chance, 5)
    if chance.random() < 0.1:
        data = b""
        for _ in range(chance.choice([50, 90, 110, 3000])):
            data = _field(chance.choice([1, 6, 7]), 2, data)
        return "onnx", _field(7, 2, data)
    sizes: list[str | int | None] = [1, 2, "T", "B", 0, -1, 2**40]
    shape = [chance.choice(sizes) for _ in range(chance.randint(0, 4))]
    values = [helper.make_tensor_value_info(key, chance.choice([1, 1, 7, 0, 99]), shape) for key in ("x", "y")]
    operator = chance.choice(["LSTM", "GRU", "RNN", "Scan", "Loop", "If", "Add"])
    node = helper.make_node(
        operator,
        chance.choice([["x"], ["x", "w", "w"], [], ["x"] * 9]),
        ["y"],
        hidden_size=pickle_grammar.sized(chance) % 2**62,
    )
    weights = TensorProto(
        name="w", dims=[pickle_grammar.sized(chance) % 2**63 for _ in range(3)], data_type=chance.choice([1, 10, 99])
    )
    weights.raw_data = chance.randbytes(chance.randint(0, 64))
    if chance.random() < 0.2:
        weights.external_data.add(key="location", value=chance.choice(["../x", "/etc/passwd", "\ud7ff" * 9]))
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], [weights]))
    if chance.random() < 0.7:
        text = chance.choice(
            [json.dumps(_json(chance, 4)), "[" * 5000, "{}", '{"seal": "' + "0" * 64 + '"}', "9" * 5000]
        )
        helper.set_model_props(model, {"rnnx": text})
    data = model.SerializeToString()
    place = chance.randrange(len(data))
    return "onnx", data if chance.random() < 0.5 else data[:place] + _message(chance, 2) + data[place:]


KINDS: dict[str, Callable[[Chance], tuple[str, bytes]]] = {
    "pickle": pickled_zip,
    "zip": sound_pickle_in_a_forged_zip,
    "legacy": legacy,
    "torchscript": torchscript,
    "exported-program": exported_program,
    "safetensors": safetensors,
    "onnx": onnx,
}


def forged(number: int, seed: int, folder: Path) -> tuple[str, Path]:
    """The kind of the forged file of a number, and its path in a folder."""
    kind = [*KINDS, "pickle", "pickle"][number % (len(KINDS) + 2)]
    suffix, data = KINDS[kind](random.Random(f"{seed} {number}"))
    path = folder / f"forged.{suffix}"
    path.write_bytes(data)
    return kind, path
