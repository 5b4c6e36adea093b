"""Streaming an ONNX protobuf to disk, weight by weight.

`ModelProto.SerializeToString` needs the model twice more in memory. Here the graph's message is framed by hand, as
https://protobuf.dev/programming-guides/encoding/ describes, and each weight goes from its array straight to the file.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from rnnx.formulations.graph import Weight
from rnnx_runtime.files.seal import seal_offset

_GRAPH_OF_MODEL = b"\x3a"  # field 7 of ModelProto, length-delimited
_INITIALIZER_OF_GRAPH = b"\x2a"  # field 5 of GraphProto, length-delimited
_RAW_DATA_OF_TENSOR = b"\x4a"  # field 9 of TensorProto, length-delimited


def write_sealed(file: BinaryIO, model: onnx.ModelProto, weights: Sequence[Weight]) -> None:
    """Write the model with the weights as initializers, and fill in the seal that its metadata holds blank."""
    digest, end = hashlib.sha256(), 0

    def write(data: Any) -> None:
        nonlocal end
        file.write(data)
        digest.update(data)
        end += len(data)

    graph, rest = _graph_and_rest(model)
    heads = [_tensor_head(weight) for weight in weights]
    entries = [
        _INITIALIZER_OF_GRAPH + _varint(len(head) + _byte_size(w)) for head, w in zip(heads, weights, strict=True)
    ]
    framed = zip(entries, heads, weights, strict=True)
    length = len(graph) + sum(len(entry) + len(head) + _byte_size(weight) for entry, head, weight in framed)
    write(_GRAPH_OF_MODEL + _varint(length) + graph)
    for entry, head, weight in zip(entries, heads, weights, strict=True):
        write(entry + head)
        write(np.ascontiguousarray(weight_values(weight)).data.cast("B"))
    start = end + seal_offset(rest)
    write(rest)
    file.seek(start)
    file.write(digest.hexdigest().encode())


def weight_values(weight: Weight) -> NDArray[Any]:
    """A weight's values, little-endian float32, of the declared shape."""
    values = weight.make()
    if values.shape != weight.shape or values.dtype != np.float32:
        raise AssertionError(f"weight {weight.name}: made {values.dtype} {values.shape}, declared {weight.shape}")
    return values.astype("<f4", copy=False)


def _graph_and_rest(model: onnx.ModelProto) -> tuple[bytes, bytes]:
    graph = model.graph.SerializeToString(deterministic=True)
    rest = onnx.ModelProto()
    for field, value in model.ListFields():  # a copy of the whole would have the weights once more
        if field.name != "graph":
            own = getattr(rest, field.name)
            own.extend(value) if hasattr(own, "extend") else setattr(rest, field.name, value)
    return graph, rest.SerializeToString(deterministic=True)


def _tensor_head(weight: Weight) -> bytes:
    """A TensorProto up to the first byte of its values."""
    bare = TensorProto(name=weight.name, dims=weight.shape, data_type=TensorProto.FLOAT)
    return bytes(bare.SerializeToString(deterministic=True)) + _RAW_DATA_OF_TENSOR + _varint(_byte_size(weight))


def _byte_size(weight: Weight) -> int:
    return 4 * int(np.prod(weight.shape))


def _varint(value: int) -> bytes:
    """A whole number in base 128, least significant group first, all but the last with the high bit set."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
