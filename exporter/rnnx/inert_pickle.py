"""Reading a pickle as plain data: nothing in it is ever imported, called or built."""

import io
import pickletools
import struct
from dataclasses import dataclass
from typing import Any

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUSHED = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
_SMALL_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PickleDataError(ValueError):
    """The bytes are no whole pickle of the operations that `torch.jit.save` writes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Named:
    """What the pickle would import: `torch._utils._rebuild_tensor_v2`."""

    name: str


@dataclass(kw_only=True, eq=False)
class Made:
    """What the pickle would make by calling `maker`, and the state it would then give it."""

    maker: Any
    arguments: Any
    state: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Outside:
    """What the pickle says lies outside of it, such as a tensor's storage."""

    reference: Any


def inert_value(data: bytes) -> Any:
    """The value that a pickle describes, with `Named`, `Made` and `Outside` where unpickling would run code.

    Only what `torch.jit.save` writes is understood (torch/csrc/jit/serialization/pickler.cpp, protocol 2). The memo is
    a dict, so that no index in the file makes it large.

    Raises:
        PickleDataError: the bytes end early, or hold another operation.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.take(opcode.name, argument)
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError, struct.error) as error:
        raise PickleDataError(f"{type(error).__name__}: {error}") from None
    raise PickleDataError("no end")


class _Machine:
    """A pickle machine's stack, the stacks below its marks, and its memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def take(self, name: str, argument: Any) -> None:
        """Do one operation."""
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _PUSHED:
            self.stack.append(argument)
        elif name in _SMALL_TUPLES:
            count = _SMALL_TUPLES[name]
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif not (self._take_memo(name, argument) or self._take_container(name) or self._take_object(name, argument)):
            raise PickleDataError(f"the operation {name}")

    def _take_memo(self, name: str, argument: Any) -> bool:
        match name:
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self._memo[argument])
            case "PROTO":
                pass
            case _:
                return False
        return True

    def _take_container(self, name: str) -> bool:
        match name:
            case "MARK":
                self._below.append(self.stack)
                self.stack = []
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                self.stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[name])
            case "TUPLE":
                marked = tuple(self._marked())
                self.stack.append(marked)
            case "APPEND" | "APPENDS":
                self._fill(list, [self.stack.pop()] if name == "APPEND" else self._marked())
            case "SETITEM" | "SETITEMS":
                items = [self.stack.pop(-2), self.stack.pop()] if name == "SETITEM" else self._marked()
                self._fill(dict, items)
            case _:
                return False
        return True

    def _take_object(self, name: str, argument: Any) -> bool:
        match name:
            case "GLOBAL":
                self.stack.append(Named(name=argument.replace(" ", ".")))
            case "REDUCE" | "NEWOBJ":
                arguments, maker = self.stack.pop(), self.stack.pop()
                self.stack.append(Made(maker=maker, arguments=arguments))
            case "BUILD":
                state = self.stack.pop()
                if not isinstance(self.stack[-1], Made):
                    raise PickleDataError("a state for what was not made")
                self.stack[-1].state = state
            case "BINPERSID":
                self.stack.append(Outside(reference=self.stack.pop()))
            case _:
                return False
        return True

    def _marked(self) -> list[Any]:
        marked, self.stack = self.stack, self._below.pop()
        return marked

    def _fill(self, kind: type, items: list[Any]) -> None:
        """Put items into the list, or pairs of items into the dict, that is on top; others are data nobody reads."""
        container = self.stack[-1]
        if isinstance(container, Made):
            return
        if not isinstance(container, kind):
            raise PickleDataError(f"items for a {type(container).__name__}")
        if isinstance(container, list):
            container.extend(items)
        elif any(isinstance(key, tuple) for key in items[::2]):
            raise PickleDataError("a tuple for a key")  # hashing a nested one may end the process
        elif isinstance(container, dict):
            container.update(zip(items[::2], items[1::2], strict=True))
