"""Which calls a checkpoint's pickle may make, and with what: those that `torch.save` writes for tensors, and no more.

torch's restricted unpickler calls anything on its list with any arguments: `bytearray(10**12)`, a tensor of 10**12
elements, a view that reaches out of its storage. Everything is looked at here before torch sees the file; the names are
those of torch/_weights_only_unpickler.py.
"""

from collections.abc import Collection
from typing import Any

from rnnx.weights.pickle_objects import Made, Named, PickleDataError, UnsafePickleError, maker_name, unusual
from rnnx.weights.pickled_storages import STORAGE_ITEMS, Storage
from rnnx.weights.pickled_tensors import TENSOR_CALLS
from rnnx.weights.pickled_values import VALUE_CALLS
from rnnx.weights.stand_ins import may_stand_in
from rnnx.weights.tensor_extent import is_whole

_KNOWN = TENSOR_CALLS.keys() | VALUE_CALLS.keys()


class CheckpointJudge:
    """Refuses every call, storage and state that `torch.save` would not have written.

    `sizes` has the bytes that the file holds for each storage; None where they follow the pickle, so that all storages
    together must fit into `most_bytes`. `trusted` are the names that the user allowed by
    `torch.serialization.add_safe_globals`: what they are called with is the user's matter. `foreign` are the names that
    inert objects will stand for, `mappings` those of them that take items.
    """

    def __init__(self, *, sizes: dict[str, int] | None, most_bytes: int, trusted: Collection[str] = ()) -> None:
        self.storages: dict[str, Storage] = {}
        self._sizes, self._most_bytes, self.trusted = sizes, most_bytes, frozenset(trusted)
        self.reads_late = sizes is None
        self.foreign: set[str] = set()
        self.mappings: set[str] = set()

    def named(self, name: str) -> None:
        """As `Judge.named`: what torch does not know, and may be an inert object, is taken down."""
        if name not in self.trusted and name not in _KNOWN and may_stand_in(name):
            self.foreign.add(name)

    def given_items(self, target: Any) -> None:
        """As `Judge.given_items`: a mapping of a class of its own."""
        if maker_name(target) in self.foreign:
            self.mappings.add(maker_name(target))

    def called(self, made: Made) -> Any:
        """As `Judge.called`: a `Strided` for a plain tensor."""
        name = made.maker.name if isinstance(made.maker, Named) else type(made.maker).__name__
        if name in self.trusted or name in self.foreign:
            return None
        if name not in _KNOWN:
            raise UnsafePickleError(f"Unsupported global: GLOBAL {name}")
        if not isinstance(made.arguments, tuple):
            raise unusual(name)
        if name in VALUE_CALLS:
            return VALUE_CALLS[name](name, made.arguments)
        return TENSOR_CALLS[name](self, name, made.arguments)

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
        name = maker_name(target)
        plain = isinstance(state, dict) and all(isinstance(key, str) for key in state)
        if name not in self.trusted and name not in self.foreign and not (name == "collections.OrderedDict" and plain):
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
