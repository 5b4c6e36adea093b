"""The weights of one recurrent module, read, checked and turned into ONNX's layout."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx.errors import CheckpointError, OptionError, WeightsError
from rnnx.weights.named_tensors import Checkpoint
from rnnx.weights.recurrence import RecurrentModule, Survey, survey_recurrent_modules
from rnnx_runtime.array_type import Array

FLOATS = ("float16", "bfloat16", "float32", "float64")

ONNX_GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
"""For each gate of ONNX its place in PyTorch: ONNX i, o, f, c from i, f, g, o; ONNX z, r, h from r, z, n.

https://onnx.ai/onnx/operators/onnx__LSTM.html and https://onnx.ai/onnx/operators/onnx__GRU.html give ONNX's order,
https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html and `GRU.html` give PyTorch's.
"""


@dataclass(frozen=True, kw_only=True)
class DirectionWeights:
    """One layer in one direction, gates in PyTorch's order (LSTM i, f, g, o; GRU r, z, n), G gates, float32.

    `w_ih (G·H, I)`, `w_hh (G·H, P)`, `b_ih (G·H)`, `b_hh (G·H)`; both biases are None for a module without bias.
    `w_hr (P, H)` projects an LSTM's h; None without projection, where P = H.
    """

    w_ih: Array
    w_hh: Array
    b_ih: Array | None
    b_hh: Array | None
    w_hr: Array | None = None


@dataclass(frozen=True, kw_only=True)
class RecurrentWeights:
    """A module's weights: `directions[layer][direction]`, and a SHA-256 over their float32 values."""

    module: RecurrentModule
    directions: tuple[tuple[DirectionWeights, ...], ...]
    sha256: str


def choose_module(checkpoint: Checkpoint, prefix: str | None) -> RecurrentModule:
    """The recurrent module of a checkpoint: the only one, or the one whose prefix is, or uniquely ends in, `prefix`.

    Raises:
        CheckpointError: there is none; says which keys there are.
        OptionError: there are several and no prefix chooses one; lists them.
        WeightsError: contradictory shapes.
    """
    survey = surveyed(checkpoint)
    modules = survey.modules
    if prefix is not None and prefix in survey.broken:
        raise survey.broken[prefix]
    exact = [module for module in modules if prefix in (None, module.prefix, module.shown_prefix)]
    chosen = exact or [module for module in modules if module.prefix.endswith(f".{prefix}")]
    if len(chosen) == 1:
        return chosen[0]
    listing = ", ".join(f"{m.shown_prefix} ({m.type_name})" for m in modules)
    raise OptionError(
        f"module for {checkpoint.name}",
        got="none" if prefix is None else repr(prefix),
        expected=f"one of {listing}",
        remedy="name one as the module; rnnx inspect lists them",
    )


def surveyed(checkpoint: Checkpoint) -> Survey:
    """The recurrent modules of a checkpoint, of which there is at least one.

    Raises:
        CheckpointError: there is none; says which keys there are.
        WeightsError: there are only broken ones; says what is wrong with the first.
    """
    survey = survey_recurrent_modules(checkpoint.tensors)
    if survey.modules:
        return survey
    for error in survey.broken.values():
        raise error
    raise CheckpointError(
        checkpoint.name,
        got=_some_keys(checkpoint),
        expected="keys of a recurrent layer such as 'weight_ih_l0'",
        remedy="give the checkpoint that holds the nn.LSTM, nn.GRU or nn.RNN, without weight norm",
    )


def read_weights(checkpoint: Checkpoint, module: RecurrentModule) -> RecurrentWeights:
    """Read a module's weights as float32.

    Raises:
        WeightsError: a value is NaN or infinite, or too large for float32, or of a dtype that is no plain float.
    """
    digest = hashlib.sha256()
    layers = tuple(
        tuple(_direction(checkpoint, module, layer, direction, digest) for direction in range(module.directions))
        for layer in range(module.layers)
    )
    return RecurrentWeights(module=module, directions=layers, sha256=digest.hexdigest())


def _direction(
    checkpoint: Checkpoint, module: RecurrentModule, layer: int, direction: int, digest: Any
) -> DirectionWeights:
    values = {}
    for name, key in module.keys(layer, direction).items():
        array = np.ascontiguousarray(_finite(checkpoint, key))
        digest.update(f"{name}.{layer}.{direction} {array.shape}\n".encode())
        digest.update(array.data)
        values[name] = array
    return DirectionWeights(
        w_ih=values["weight_ih"],
        w_hh=values["weight_hh"],
        b_ih=values.get("bias_ih"),
        b_hh=values.get("bias_hh"),
        w_hr=values.get("weight_hr"),
    )


def _finite(checkpoint: Checkpoint, key: str) -> Array:
    dtype = checkpoint.tensors[key].dtype
    if dtype not in FLOATS:
        raise WeightsError(
            f"key {key!r} of {checkpoint.name}",
            got=dtype,
            expected=", ".join(FLOATS),
            remedy="give the checkpoint from before quantization",
        )
    source = checkpoint.read(key)
    with np.errstate(over="ignore"):
        array = source.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        wrong = int(array.size - np.isfinite(array).sum())
        what = "NaN or Inf" if not np.isfinite(source).all() else "too large for float32"
        raise WeightsError(
            f"key {key!r} of {checkpoint.name}",
            got=f"{wrong} of {array.size} values {what}",
            expected="finite float32 values",
            remedy="the training diverged or the file is damaged: use an earlier checkpoint",
        )
    return array


def onnx_gates(kind: str, array: Array) -> Array:
    """Rows `(G·H, …)` from PyTorch's gate order to ONNX's."""
    gates = np.split(array, len(ONNX_GATE_ORDER[kind]))
    return np.concatenate([gates[place] for place in ONNX_GATE_ORDER[kind]])


def _some_keys(checkpoint: Checkpoint) -> str:
    keys = list(checkpoint.tensors)
    shown = ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
    return f"only the keys {shown}" if keys else "no tensors at all"
