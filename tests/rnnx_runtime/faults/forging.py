"""Files that their seal vouches for and that rnnx would never write."""

import json
from collections.abc import Callable
from typing import Any

from onnx import ModelProto, helper

from rnnx_runtime.files.seal import BLANK, SEAL_KEY, sealed

Values = dict[str, Any]


def unchanged(_: object) -> None:
    """A change that is none."""


def forged(
    data: bytes, graph: Callable[[ModelProto], object] = unchanged, contract: Callable[[Values], object] = unchanged
) -> bytes:
    """An .onnx of rnnx with its graph and its contract changed in place, under a fresh seal."""
    model = ModelProto.FromString(data)
    values = json.loads(model.metadata_props[0].value)
    contract(values)
    return with_contract(model, json.dumps(values), graph)


def with_contract(model: ModelProto, text: str, graph: Callable[[ModelProto], object] = unchanged) -> bytes:
    """A model sealed with this text as its contract; the text must hold the seal's key."""
    helper.set_model_props(model, {"rnnx": text})
    graph(model)
    return sealed(model.SerializeToString(deterministic=True))


def blank_seal() -> str:
    """The seal's key as it stands in JSON before the digest is known."""
    return f'"{SEAL_KEY}": "{BLANK}"'
