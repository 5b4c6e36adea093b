"""The graph of an .onnx file that anybody may have written."""

from pathlib import Path
from typing import Any

from rnnx.extras import require
from rnnx.linting.message_limits import refuse_swollen
from rnnx_runtime.errors import FileDamagedError


def parse_onnx(path: Path, data: bytes) -> Any:
    """The graph of an .onnx file, each of whose parts is as ONNX defines it.

    Raises:
        FileDamagedError: no protobuf, no graph in it, or a graph with a part that no exporter writes.
        MissingExtraError: the package onnx is not installed.
    """
    onnx = require("onnx", extra="export", purpose=f"reading {path.name}")

    from rnnx.linting.rules.validity import malformed_parts

    refuse_swollen(path, data)
    try:
        proto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf has its own errors, by implementation
        raise _no_onnx(path, str(error).strip() or type(error).__name__) from None
    if not proto.graph.node:
        raise _no_onnx(path, "no graph with nodes")
    for text in malformed_parts(proto):
        raise _no_onnx(path, text)
    return proto


def count_of_nodes(proto: Any) -> int:
    """The nodes of a graph, and of all graphs inside them."""
    from rnnx.linting.rules.scopes import scopes_of

    return sum(len(scope.nodes) for scope in scopes_of(proto))


def _no_onnx(path: Path, got: str) -> FileDamagedError:
    return FileDamagedError(str(path), got=got, expected="a whole ONNX file", remedy="copy or export it again")
