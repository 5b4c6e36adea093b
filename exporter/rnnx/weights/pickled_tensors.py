"""Calls by which a checkpoint's pickle makes tensors: which arguments `torch.save` writes for each.

The arguments are those of torch/_utils.py.
"""

import math
from collections.abc import Callable, Collection
from typing import Any, Protocol

from rnnx.weights.pickle_objects import Made, Named, Outside, PickleDataError, UnsafePickleError, finding_of, unusual
from rnnx.weights.pickled_storages import LATER_DTYPES, Storage, Strided, is_size, plain_size, strided

_LAYOUTS = {"torch.sparse_coo": 3} | dict.fromkeys((f"torch.sparse_{name}" for name in ("csr", "csc", "bsr", "bsc")), 4)
"""How many values at least describe a tensor of each sparse layout."""

_TENSOR_TYPES = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")

_TENSOR_TYPES = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")


class TensorJudge(Protocol):
    """Who judges the calls."""

    @property
    def trusted(self) -> Collection[str]:
        """The names that the user allowed."""

    @property
    def reads_late(self) -> bool:
        """Whether torch makes tensors before it has read their storages."""

    def called(self, made: Made) -> Any:
        """What is to be known of the result of a call."""


def _tensor(judge: TensorJudge, name: str, arguments: tuple[Any, ...]) -> Strided:
    """`_rebuild_tensor(storage, offset, size, stride)`, `_v2(…, requires_grad, hooks, metadata)`."""
    match arguments:
        case (Outside(finding=Storage() as storage), offset, size, stride, *rest) if _is_plain_rest(rest):
            return strided(storage, storage.kind, storage.item, offset, size, stride)
    raise unusual(name)


def _typed_tensor(judge: TensorJudge, name: str, arguments: tuple[Any, ...]) -> Strided:
    """`_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata)`."""
    match arguments:
        case (Outside(finding=Storage() as storage), offset, size, stride, grad, hooks, Named(name=dtype), *rest):
            item = LATER_DTYPES.get(dtype)
            if item is not None and _is_plain_rest([grad, hooks, *rest]):
                return strided(storage, dtype, item, offset, size, stride)
    raise unusual(name)


def _parameter(judge: TensorJudge, name: str, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_parameter(data, requires_grad, hooks)` and `_with_state(…, state)`."""
    match arguments:
        case (Made(finding=finding), bool(), hooks, *state) if finding is not None and _is_no_hook(hooks):
            if not state or _is_flat_state(state[0]):
                return finding
    raise unusual(name)


def _subclass(judge: TensorJudge, name: str, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_from_type_v2(function, type, arguments, state)`, here for tensors with attributes."""
    match arguments:
        case (Named() as maker, Named(name=kind), tuple() as inner, state):
            if (kind in _TENSOR_TYPES or kind in judge.trusted) and _is_flat_state(state):
                if maker.name == name or not maker.name.startswith("torch._utils._rebuild_"):
                    raise unusual(name)
                return judge.called(Made(maker=maker, arguments=inner))
            raise UnsafePickleError(f"a tensor of the type {kind}, or one with attributes that hold containers")
    raise unusual(name)


def _quantized(judge: TensorJudge, name: str, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_qtensor(storage, offset, size, stride, parameters, requires_grad, hooks)`."""
    match arguments:
        case (Outside(finding=Storage() as storage), offset, size, stride, parameters, *rest):
            view = strided(storage, storage.kind, storage.item, offset, size, stride)
            # torch makes one of the full size first: it may not be larger than what is there
            whole = math.prod(view.shape) * storage.item <= storage.nbytes
            late = judge.reads_late  # then torch would copy scales of another dtype before it has read them
            if whole and _is_plain_rest(rest) and _is_quantizer(parameters, view.shape, late):
                return "quantized"
    raise unusual(name)


def _sparse(judge: TensorJudge, name: str, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_sparse_tensor(layout, data)`: whether its indices lie within it, torch checks when it has them."""
    match arguments:
        case (Made(finding=str(layout)), tuple(data)) if layout in _LAYOUTS:
            parts, size = data[: _LAYOUTS[layout] - 1], data[_LAYOUTS[layout] - 1 :][:1]
            if size and all(finding_of(part) for part in parts) and is_size(plain_size(size[0])):
                return layout
    raise unusual(name)


def _nested(judge: TensorJudge, name: str, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_nested_tensor(buffer, sizes, strides, offsets)`, of which torch reads the last three unasked."""
    if judge.reads_late:
        raise PickleDataError("a nested tensor, whose sizes torch would read before it has read the storages")
    match [finding_of(argument) for argument in arguments]:
        case [Strided(), Strided() as sizes, Strided() as strides, Strided() as offsets]:
            longs = all(part.kind == "torch.LongStorage" for part in (sizes, strides, offsets))
            alike = len(sizes.shape) == 2 and sizes.shape == strides.shape and offsets.shape == sizes.shape[:1]
            if longs and alike and all(part.is_contiguous for part in (sizes, strides, offsets)):
                return "nested"
    raise unusual(name)


def _meta(judge: TensorJudge, name: str, arguments: tuple[Any, ...]) -> Any:
    """`_rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad)`."""
    match arguments:
        case (Named(), size, stride, bool()) if is_size(plain_size(size)) and is_size(plain_size(stride)):
            return "meta"
    raise unusual(name)


def _is_plain_rest(rest: list[Any]) -> bool:
    """Whether what follows a tensor's strides is `requires_grad, hooks, metadata`, as many of them as there are."""
    match rest:
        case [] | [bool()]:
            return True
        case [bool(), hooks]:
            return _is_no_hook(hooks)
        case [bool(), hooks, metadata]:
            return _is_no_hook(hooks) and _is_metadata(metadata)
    return False


def _is_no_hook(hooks: Any) -> bool:
    made = isinstance(hooks, Made) and isinstance(hooks.maker, Named) and hooks.maker.name == "collections.OrderedDict"
    return hooks is None or hooks == {} or (made and hooks.arguments == ())


def _is_metadata(metadata: Any) -> bool:
    """The bits of complex numbers that are to be conjugated, and of numbers that are to be negated."""
    flags = isinstance(metadata, dict) and set(metadata) <= {"conj", "neg"}
    return metadata is None or (flags and all(isinstance(value, bool) for value in metadata.values()))


def _is_flat_state(state: Any) -> bool:
    """Whether a tensor's attributes hold neither containers nor tensors: a chain of them could end the process."""
    match state:
        case None:
            return True
        case dict():
            named = all(isinstance(key, str) and not key.startswith("__") for key in state)
            return named and all(_is_flat(value) for value in state.values())
        case (attributes, slots):
            return _is_flat_state(attributes) and _is_flat_state(slots)
    return False


def _is_flat(value: Any) -> bool:
    if isinstance(value, tuple):
        return not any(isinstance(item, tuple) for item in value) and all(_is_flat(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _is_quantizer(parameters: Any, shape: tuple[int, ...], as_they_are: bool) -> bool:
    """A scale and a zero point for all, or as many of both as there are elements along an axis."""
    match parameters:
        case (Named(name="torch.per_tensor_affine"), scale, int()):
            return isinstance(scale, int | float)
        case (Named(name=scheme), scales, zero_points, int(axis)) if scheme.startswith("torch.per_channel_affine"):
            kinds = [part.kind for part in map(finding_of, (scales, zero_points)) if isinstance(part, Strided)]
            if as_they_are and kinds != ["torch.DoubleStorage", "torch.LongStorage"]:
                return False
            counts = [_count(scales), _count(zero_points)]
            return 0 <= axis < len(shape) and counts == [shape[axis]] * 2
    return False


def _count(values: Any) -> int:
    """How many numbers a list or a tensor of one axis has; -1 for anything else."""
    finding = finding_of(values)
    if isinstance(finding, Strided) and len(finding.shape) == 1 and finding.is_contiguous:
        return finding.shape[0]
    return len(values) if isinstance(values, list) and all(type(n) in (int, float) for n in values) else -1


TENSOR_CALLS: dict[str, Callable[[TensorJudge, str, tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
}
"""What checks the arguments of each call."""
