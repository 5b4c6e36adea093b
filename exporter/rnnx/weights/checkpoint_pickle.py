"""Which calls a checkpoint's pickle may make, and with what: those that `torch.save` writes for tensors, and no more.

torch's restricted unpickler calls anything on its list with any arguments: `bytearray(10**12)`, a tensor of 10**12
elements, a view that reaches out of its storage. Everything is looked at here before torch sees the file; the names are
those of torch/_weights_only_unpickler.py, the arguments those of torch/_utils.py.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from rnnx.weights.inert_pickle import Made, Named, Outside, PickleDataError, UnsafePickleError, check_key
from rnnx.weights.stand_ins import may_stand_in
from rnnx.weights.tensor_extent import extent_flaw, is_whole

STORAGE_ITEMS = {
    "torch.DoubleStorage": 8,
    "torch.FloatStorage": 4,
    "torch.HalfStorage": 2,
    "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8,
    "torch.IntStorage": 4,
    "torch.ShortStorage": 2,
    "torch.CharStorage": 1,
    "torch.ByteStorage": 1,
    "torch.BoolStorage": 1,
    "torch.ComplexDoubleStorage": 16,
    "torch.ComplexFloatStorage": 8,
    "torch.QUInt8Storage": 1,
    "torch.QInt8Storage": 1,
    "torch.QInt32Storage": 4,
    "torch.QUInt4x2Storage": 1,
    "torch.QUInt2x4Storage": 1,
    "torch.storage.UntypedStorage": 1,
}
"""Bytes of an element of every kind of storage."""

_LAYOUTS = {"torch.sparse_coo": 3, "torch.sparse_csr": 4, "torch.sparse_csc": 4, "torch.sparse_bsr": 4} | {
    "torch.sparse_bsc": 4
}
"""How many values at least describe a tensor of each sparse layout."""

_TENSOR_TYPES = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")

_LATER_DTYPES = {
    "torch.float8_e5m2": 1,
    "torch.float8_e4m3fn": 1,
    "torch.float8_e5m2fnuz": 1,
    "torch.float8_e4m3fnuz": 1,
    "torch.float8_e8m0fnu": 1,
    "torch.float4_e2m1fn_x2": 1,
    "torch.bits8": 1,
    "torch.bits16": 2,
    "torch.bits1x8": 1,
    "torch.bits2x4": 1,
    "torch.bits4x2": 1,
    "torch.complex32": 4,
    "torch.uint16": 2,
    "torch.uint32": 4,
    "torch.uint64": 8,
}
"""Bytes of an element of the dtypes that have no storage of their own (torch.storage._new_dtypes)."""

_CODECS = ("latin1", "latin-1")
_LARGEST_NUMBER_OF_AXES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """Where a tensor's elements lie; `elements` are what the pickle claims, and the file has."""

    key: str
    kind: str
    elements: int

    @property
    def item(self) -> int:
        """Bytes of an element."""
        return STORAGE_ITEMS[self.kind]

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return self.elements * self.item


@dataclass(frozen=True, kw_only=True, slots=True)
class Strided:
    """A plain tensor as the pickle describes it."""

    kind: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class CheckpointJudge:
    """Refuses every call, storage and state that `torch.save` would not have written.

    `sizes` has the bytes that the file holds for each storage; None where they follow the pickle, so that all storages
    together must fit into `most_bytes`. `trusted` are the names that the user allowed by
    `torch.serialization.add_safe_globals`: what they are called with is the user's matter. `foreign` are the names that
    inert objects will stand for, `mappings` those of them that take items.
    """

    def __init__(self, *, sizes: dict[str, int] | None, most_bytes: int, trusted: Collection[str] = ()) -> None:
        self.storages: dict[str, Storage] = {}
        self._sizes, self._most_bytes, self._trusted = sizes, most_bytes, frozenset(trusted)
        self.foreign: set[str] = set()
        self.mappings: set[str] = set()

    def named(self, name: str) -> None:
        """As `Judge.named`: what torch does not know, and may be an inert object, is taken down."""
        if name not in self._trusted and name not in _CALLS and may_stand_in(name):
            self.foreign.add(name)

    def given_items(self, target: Any) -> None:
        """As `Judge.given_items`: a mapping of a class of its own."""
        if _made_by(target) in self.foreign:
            self.mappings.add(_made_by(target))

    def called(self, made: Made) -> Any:
        """As `Judge.called`: a `Strided` for a plain tensor."""
        name = made.maker.name if isinstance(made.maker, Named) else type(made.maker).__name__
        if name in self._trusted or name in self.foreign:
            return None
        check = _CALLS.get(name)
        if check is None:
            raise UnsafePickleError(f"Unsupported global: GLOBAL {name}")
        if not isinstance(made.arguments, tuple):
            raise _unusual(name)
        return check(self, name, made.arguments)

    def referred(self, reference: Any) -> Storage:
        """As `Judge.referred`: the storage, which the file has room for."""
        match reference:
            case ("storage", Named(name=kind), str(key), str(), numel) if self._sizes is not None:
                return self._storage(kind, key, numel)
            case ("storage", Named(name=kind), str(key), str(), numel, view) if self._sizes is None:
                storage = self._storage(kind, key, numel)
                return storage if view is None else self._view(storage, view)
        raise PickleDataError("a storage described in an unknown way")

    def built(self, target: Any, state: Any) -> None:
        """As `Judge.built`: attributes of a dict alone, such as a state dict's `_metadata`."""
        name = _made_by(target)
        plain = isinstance(state, dict) and all(isinstance(key, str) for key in state)
        if name not in self._trusted and name not in self.foreign and not (name == "collections.OrderedDict" and plain):
            raise UnsafePickleError(f"a state for a {name}")

    def _storage(self, kind: str, key: str, numel: Any) -> Storage:
        if kind not in STORAGE_ITEMS:
            raise PickleDataError(f"a storage of the kind {kind}")
        if not is_whole(numel) or not key.isascii():
            raise PickleDataError(f"the storage {key!r} of {numel!r} elements")
        storage = Storage(key=key, kind=kind, elements=numel)
        known = self.storages.setdefault(key, storage)
        if known != storage:
            raise PickleDataError(f"the storage {key!r} described in two ways")
        if known is storage:
            self._check_room(storage)
        return known

    def _check_room(self, storage: Storage) -> None:
        if self._sizes is None:
            room = self._most_bytes = self._most_bytes - storage.nbytes
            fits = room >= 0
        else:
            fits = storage.nbytes == self._sizes.get(storage.key, -1)
        if not fits:
            raise PickleDataError(f"the storage {storage.key!r} of {storage.nbytes:,} bytes, which are not in the file")

    def _view(self, storage: Storage, view: Any) -> Storage:
        """A part of a storage, which early versions of torch saved as a storage."""
        match view:
            case (str(), offset, size) if is_whole(offset, size) and offset + size <= storage.elements:
                return Storage(key=storage.key, kind=storage.kind, elements=size)
        raise PickleDataError("a part of a storage that reaches out of it")

    def tensor(self, name: str, arguments: tuple[Any, ...]) -> Strided:
        """`_rebuild_tensor(storage, offset, size, stride)`, `_v2(…, requires_grad, hooks, metadata)`."""
        match arguments:
            case (Outside(finding=Storage() as storage), offset, size, stride, *rest) if _is_plain_rest(rest):
                return _strided(storage, storage.kind, storage.item, offset, size, stride)
        raise _unusual(name)

    def typed_tensor(self, name: str, arguments: tuple[Any, ...]) -> Strided:
        """`_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata)`."""
        match arguments:
            case (Outside(finding=Storage() as storage), offset, size, stride, grad, hooks, Named(name=dtype), *rest):
                item = _LATER_DTYPES.get(dtype)
                if item is not None and _is_plain_rest([grad, hooks, *rest]):
                    return _strided(storage, dtype, item, offset, size, stride)
        raise _unusual(name)

    def parameter(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """`_rebuild_parameter(data, requires_grad, hooks)` and `_with_state(…, state)`."""
        match arguments:
            case (Made(finding=finding), bool(), hooks, *state) if finding is not None and _is_no_hook(hooks):
                if not state or _is_flat_state(state[0]):
                    return finding
        raise _unusual(name)

    def subclass(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """`_rebuild_from_type_v2(function, type, arguments, state)`, here for tensors with attributes."""
        match arguments:
            case (Named() as maker, Named(name=kind), tuple() as inner, state):
                if (kind in _TENSOR_TYPES or kind in self._trusted) and _is_flat_state(state):
                    if maker.name == name or not maker.name.startswith("torch._utils._rebuild_"):
                        raise _unusual(name)
                    return self.called(Made(maker=maker, arguments=inner))
                raise UnsafePickleError(f"a tensor of the type {kind}, or one with attributes that hold containers")
        raise _unusual(name)

    def quantized(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """`_rebuild_qtensor(storage, offset, size, stride, parameters, requires_grad, hooks)`."""
        match arguments:
            case (Outside(finding=Storage() as storage), offset, size, stride, parameters, *rest):
                view = _strided(storage, storage.kind, storage.item, offset, size, stride)
                # torch makes one of the full size first: it may not be larger than what is there
                whole = math.prod(view.shape) * storage.item <= storage.nbytes
                late = self._sizes is None  # then torch would copy scales of another dtype before it has read them
                if whole and _is_plain_rest(rest) and _is_quantizer(parameters, view.shape, late):
                    return "quantized"
        raise _unusual(name)

    def sparse(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """`_rebuild_sparse_tensor(layout, data)`: whether its indices lie within it, torch checks when it has them."""
        match arguments:
            case (Made(finding=str(layout)), tuple(data)) if layout in _LAYOUTS:
                parts, size = data[: _LAYOUTS[layout] - 1], data[_LAYOUTS[layout] - 1 :][:1]
                if size and all(_finding(part) for part in parts) and _is_size(_plain_size(size[0])):
                    return layout
        raise _unusual(name)

    def nested(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """`_rebuild_nested_tensor(buffer, sizes, strides, offsets)`, of which torch reads the last three unasked."""
        if self._sizes is None:
            raise PickleDataError("a nested tensor, whose sizes torch would read before it has read the storages")
        match [_finding(argument) for argument in arguments]:
            case [Strided(), Strided() as sizes, Strided() as strides, Strided() as offsets]:
                longs = all(part.kind == "torch.LongStorage" for part in (sizes, strides, offsets))
                alike = len(sizes.shape) == 2 and sizes.shape == strides.shape and offsets.shape == sizes.shape[:1]
                if longs and alike and all(_is_contiguous(part) for part in (sizes, strides, offsets)):
                    return "nested"
        raise _unusual(name)

    def meta(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """`_rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad)`."""
        match arguments:
            case (Named(), size, stride, bool()) if _is_size(_plain_size(size)) and _is_size(_plain_size(stride)):
                return "meta"
        raise _unusual(name)

    def dictionary(self, name: str, arguments: tuple[Any, ...]) -> None:
        """`OrderedDict()`, or `OrderedDict([[key, value], …])` as Python 2 wrote it; `Counter({…})`."""
        match arguments:
            case () | (dict(),):
                return
            case (list(pairs),) if all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
                if not any(check_key(key) for key, _ in pairs):
                    return
        raise _unusual(name)

    def set_of(self, name: str, arguments: tuple[Any, ...]) -> None:
        """`set([…])`, of text and small numbers."""
        match arguments:
            case () | ([],):
                return
            case (list(items),) if not any(check_key(item) for item in items):
                return
        raise _unusual(name)

    def encoded(self, name: str, arguments: tuple[Any, ...]) -> None:
        """`_codecs.encode(text, "latin1")`, which is how bytes are written, and `bytearray(text, "latin-1")`."""
        match arguments:
            case () if name == "builtins.bytearray":
                return
            case (str(), str(codec)) if codec in _CODECS:
                return
            case (Made(maker=Named(name="_codecs.encode")),) if name == "builtins.bytearray":
                return
        raise _unusual(name)

    def number(self, name: str, arguments: tuple[Any, ...]) -> None:
        """`complex(real, imaginary)`."""
        if not all(type(part) in (int, float) for part in arguments):
            raise _unusual(name)

    def size(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """`torch.Size((…))`."""
        if len(arguments) != 1 or not _is_size(arguments[0]):
            raise _unusual(name)
        return arguments[0]

    def text(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """`torch.serialization._get_layout("torch.strided")` and `torch.device("cuda", 0)`."""
        match arguments:
            case (str(word),) | (str(word), int()) if len(word) < 100:
                return word
        raise _unusual(name)


_CALLS: dict[str, Callable[[CheckpointJudge, str, tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": CheckpointJudge.tensor,
    "torch._utils._rebuild_tensor_v2": CheckpointJudge.tensor,
    "torch._utils._rebuild_tensor_v3": CheckpointJudge.typed_tensor,
    "torch._utils._rebuild_parameter": CheckpointJudge.parameter,
    "torch._utils._rebuild_parameter_with_state": CheckpointJudge.parameter,
    "torch._tensor._rebuild_from_type_v2": CheckpointJudge.subclass,
    "torch._utils._rebuild_qtensor": CheckpointJudge.quantized,
    "torch._utils._rebuild_sparse_tensor": CheckpointJudge.sparse,
    "torch._utils._rebuild_nested_tensor": CheckpointJudge.nested,
    "torch._utils._rebuild_meta_tensor_no_storage": CheckpointJudge.meta,
    "collections.OrderedDict": CheckpointJudge.dictionary,
    "collections.Counter": CheckpointJudge.dictionary,
    "builtins.set": CheckpointJudge.set_of,
    "_codecs.encode": CheckpointJudge.encoded,
    "builtins.bytearray": CheckpointJudge.encoded,
    "builtins.complex": CheckpointJudge.number,
    "torch.Size": CheckpointJudge.size,
    "torch.serialization._get_layout": CheckpointJudge.text,
    "torch.device": CheckpointJudge.text,
}


def _strided(storage: Storage, kind: str, item: int, offset: Any, size: Any, stride: Any) -> Strided:
    shape, strides = _plain_size(size), _plain_size(stride)
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise PickleDataError("a tensor whose shape is no tuple")
    flaw = extent_flaw(shape, strides, offset, item, storage.nbytes)
    if flaw:
        raise PickleDataError(f"a tensor {flaw}")
    return Strided(kind=kind, shape=shape, strides=strides)


def _plain_size(size: Any) -> Any:
    """A tuple, which may be wrapped into a `torch.Size`."""
    return size.finding if isinstance(size, Made) and isinstance(size.finding, tuple) else size


def _is_size(size: Any) -> bool:
    return isinstance(size, tuple) and len(size) <= _LARGEST_NUMBER_OF_AXES and is_whole(*size)


def _is_contiguous(tensor: Strided) -> bool:
    expected = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= max(size, 1)
    return True


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
            kinds = [part.kind for part in map(_finding, (scales, zero_points)) if isinstance(part, Strided)]
            if as_they_are and kinds != ["torch.DoubleStorage", "torch.LongStorage"]:
                return False
            counts = [_count(scales), _count(zero_points)]
            return 0 <= axis < len(shape) and counts == [shape[axis]] * 2
    return False


def _count(values: Any) -> int:
    """How many numbers a list or a tensor of one axis has; -1 for anything else."""
    finding = _finding(values)
    if isinstance(finding, Strided) and len(finding.shape) == 1 and _is_contiguous(finding):
        return finding.shape[0]
    return len(values) if isinstance(values, list) and all(type(n) in (int, float) for n in values) else -1


def _made_by(value: Any) -> str:
    maker = value.maker if isinstance(value, Made) else None
    return maker.name if isinstance(maker, Named) else type(value).__name__


def _finding(value: Any) -> Any:
    return value.finding if isinstance(value, Made) else None


def _unusual(name: str) -> UnsafePickleError:
    return UnsafePickleError(f"a call of {name} as torch.save writes none")
