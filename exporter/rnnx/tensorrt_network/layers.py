"""A parsed network's layers as records of Python: TensorRT's own objects are read once and not kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx.extras import require
from rnnx_runtime.array_type import Array
from rnnx_runtime.errors import BackendUnavailable

_CLASSES = {
    "CONDITION": "IConditionLayer",
    "CONDITIONAL_INPUT": "IIfConditionalInputLayer",
    "CONDITIONAL_OUTPUT": "IIfConditionalOutputLayer",
    "ELEMENTWISE": "IElementWiseLayer",
    "TOPK": "ITopKLayer",
    "SOFTMAX": "ISoftMaxLayer",
    "PARAMETRIC_RELU": "IParametricReLULayer",
}
"""The Python classes that are not their `LayerType` in camel case."""

_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}
"""TensorRT's element types as NumPy's own."""

_EXTENDED_TYPES = {"BF16": "bfloat16", "FP8": "float8_e4m3fn"}
"""TensorRT's element types that NumPy has from the package ml_dtypes."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor of the network: TensorRT's name for its element type, and its shape with -1 where it is free."""

    name: str
    type: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype; raises as `numpy_type`."""
        return numpy_type(self.type, f"tensor {self.name!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A layer of the network: its name, its `LayerType`'s name, its tensors; an input that was left out is None.

    `native` is the layer as an instance of its own class. `scope` tells the loops and conditionals apart to which
    boundary layers belong. `constants` holds those inputs' values that are known before anything runs.
    """

    name: str
    kind: str
    native: Any
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    scope: int | None = None
    constants: tuple[Array | None, ...] = ()

    @property
    def subject(self) -> str:
        """The layer in an error's words."""
        return f"layer {self.name!r} of type {self.kind}"

    @property
    def reads(self) -> frozenset[str]:
        """The names of its inputs."""
        return frozenset(tensor.name for tensor in self.inputs if tensor is not None)

    @property
    def writes(self) -> frozenset[str]:
        """The names of its outputs."""
        return frozenset(tensor.name for tensor in self.outputs)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the first output."""
        return self.outputs[0].dtype

    def unsupported(self, got: str) -> BackendUnavailable:
        """The error for something about this layer that is not evaluated here."""
        return BackendUnavailable(
            self.subject,
            got=got,
            expected="a layer that rnnx evaluates in NumPy",
            remedy="leave the row tensorrt-network out, and verify the built engine on a GPU",
        )


def numpy_type(name: str, subject: str) -> np.dtype[Any]:
    """The NumPy dtype of TensorRT's element type `name`; `subject` says whose it is.

    Raises:
        BackendUnavailable: NumPy has none.
        MissingExtraError: it comes with ml_dtypes, which is not installed.
    """
    if name in _EXTENDED_TYPES:
        extended = require("ml_dtypes", extra="export", purpose=f"evaluating {name}")
        found: np.dtype[Any] = np.dtype(getattr(extended, _EXTENDED_TYPES[name]))
        return found
    if name not in _TYPES:
        raise BackendUnavailable(
            subject,
            got=f"element type {name}",
            expected=" | ".join((*_TYPES, *_EXTENDED_TYPES)),
            remedy="leave the row tensorrt-network out, and verify the built engine on a GPU",
        )
    return np.dtype(_TYPES[name])


def read_layers(trt: Any, network: Any) -> list[Layer]:
    """The layers of an `INetworkDefinition`, in its own order, which need not be the order to run them in."""
    scopes: list[Any] = []  # kept until all are read, for only living objects can be told apart
    return [_layer(trt, network.get_layer(index), scopes) for index in range(network.num_layers)]


def read_inputs(network: Any) -> tuple[Tensor, ...]:
    """The network's inputs in order."""
    return tuple(_tensor(network.get_input(index)) for index in range(network.num_inputs))


def read_outputs(network: Any) -> tuple[Tensor, ...]:
    """The network's outputs in order."""
    return tuple(_tensor(network.get_output(index)) for index in range(network.num_outputs))


def _layer(trt: Any, native: Any, scopes: list[Any]) -> Layer:
    kind = native.type.name  # read first: some of the concrete classes have another attribute of this name
    inputs = tuple(_optional_tensor(native.get_input(index)) for index in range(native.num_inputs))
    outputs = tuple(_tensor(native.get_output(index)) for index in range(native.num_outputs))
    concrete = getattr(trt, _CLASSES.get(kind, _class_name(kind)), None)
    if concrete is not None:
        native.__class__ = concrete
    return Layer(
        name=native.name, kind=kind, native=native, inputs=inputs, outputs=outputs, scope=_scope(native, scopes)
    )


def _class_name(kind: str) -> str:
    return f"I{''.join(word.capitalize() for word in kind.split('_'))}Layer"


def _scope(native: Any, scopes: list[Any]) -> int | None:
    owner = getattr(native, "loop", None) or getattr(native, "conditional", None)
    if owner is None:
        return None
    known = next((index for index, scope in enumerate(scopes) if scope is owner), None)
    if known is None:
        scopes.append(owner)
        return len(scopes) - 1
    return known


def _optional_tensor(native: Any) -> Tensor | None:
    return None if native is None else _tensor(native)


def _tensor(native: Any) -> Tensor:
    return Tensor(name=native.name, type=native.dtype.name, shape=tuple(sizes(native.shape) or ()))


def sizes(dims: Any) -> tuple[int, ...] | None:
    """A `Dims` as plain numbers; None where it holds none, which TensorRT writes as a negative count of them."""
    if dims is None:
        return None
    try:
        return tuple(int(size) for size in dims)
    except ValueError:
        return None


def axes_of(mask: int) -> Iterator[int]:
    """The axes in a bit mask, the lowest bit the first."""
    return (axis for axis in range(mask.bit_length()) if mask >> axis & 1)


def lane(values: Array, axis: int, rank: int) -> Array:
    """A vector laid along one axis of a tensor of some rank, so that it broadcasts over the others."""
    return values.reshape([-1 if place == axis % rank else 1 for place in range(rank)])
