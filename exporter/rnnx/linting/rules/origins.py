"""Which exporter wrote a model, as far as the file says."""

from dataclasses import dataclass
from typing import Any, Literal

from onnx import ModelProto

from rnnx_runtime.files.strict_json import value_from_json

Exporter = Literal["torch-dynamo", "torch-torchscript", "keras", "rnnx", "unknown"]

_KERAS = ("tf2onnx", "keras2onnx", "keras", "onnxmltools")
_DYNAMO_MARK = "pkg.torch."
"""How the keys begin that torch.onnx's dynamo exporter writes into the metadata of nodes and graphs.

They outlast tools that put their own name over the producer's, such as a quantizer.
"""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The exporter, and the producer's name and version as the file gives them.

    `is_traced` says that rnnx traced a whole model: what its graph does with time and batch is what the model does.
    """

    exporter: Exporter
    producer: str
    is_traced: bool = False


def origin_of(model: ModelProto) -> Origin:
    """Tell the exporter from the producer's name and the marks it leaves."""
    producer = f"{model.producer_name} {model.producer_version}".strip()
    exporter = _exporter(model)
    is_traced = exporter == "rnnx" and _is_whole(model)
    return Origin(exporter=exporter, producer=producer or "not said", is_traced=is_traced)


def contract_values(model: ModelProto) -> dict[str, Any]:
    """The contract that a model of rnnx has in its metadata, as JSON data; empty where there is none."""
    texts = [entry.value for entry in model.metadata_props if entry.key == "rnnx"]
    try:
        found = value_from_json(texts[0].encode()) if texts else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_whole(model: ModelProto) -> bool:
    """Whether rnnx's contract says a whole model; a bare layer's one recurrence has no name."""
    parts = contract_values(model).get("recurrent")
    return isinstance(parts, list) and not any(isinstance(part, dict) and part.get("name") == "" for part in parts)


def _exporter(model: ModelProto) -> Exporter:
    name = model.producer_name.lower()
    if _has_dynamo_mark(model):
        return "torch-dynamo"
    if name == "pytorch":
        return "torch-torchscript" if model.ir_version < 10 else "torch-dynamo"
    if name.startswith(_KERAS):
        return "keras"
    return "rnnx" if name == "rnnx" else "unknown"


def _has_dynamo_mark(model: ModelProto) -> bool:
    entries = [*model.graph.metadata_props, *(entry for node in model.graph.node for entry in node.metadata_props)]
    return any(entry.key.startswith(_DYNAMO_MARK) for entry in entries)
