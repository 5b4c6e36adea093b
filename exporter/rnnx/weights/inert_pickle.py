"""Reading a pickle as plain data: nothing in it is ever imported, called or built.

The machine knows the operations that torch's own restricted unpickler knows (torch/_weights_only_unpickler.py), which
are all that `torch.save` and `torch.jit.save` write, and ends where a pickle would cost more than the bytes it has.
"""

import mmap
import struct
from collections.abc import Callable, Iterable
from pickle import decode_long
from typing import Any

from rnnx.weights.pickle_keys import check_key
from rnnx.weights.pickle_objects import Judge, Made, Named, Outside, PickleDataError, UnsafePickleError, maker_name

Buffer = bytes | mmap.mmap

_MOST_OPERATIONS = 20_000_000
"""Of one pickle: half a million tensors take as many."""

_DEEPEST_TUPLE = 100

_MOST_ODD_KEYS = 10_000
"""Keys whose hashes a file can choose, so that they collide: numbers of more than 60 bits, tuples, floats."""

_LONGEST_LINE = 1_000
"""Bytes of a module's or a class's name."""

_ITEM_BYTES, _ENTRY_BYTES, _OBJECT_BYTES, _CALL_BYTES = 8, 100, 64, 1_000
"""What a pointer, an entry of a dict, any object and a result of a call, such as a tensor, take in memory."""


class AnyCall:
    """The judge of what nobody will execute: every call is taken down."""

    def called(self, made: Made) -> Any:
        """As `Judge.called`."""

    def named(self, name: str) -> None:
        """As `Judge.named`."""

    def given_items(self, target: Any) -> None:
        """As `Judge.given_items`."""

    def referred(self, reference: Any) -> Any:
        """As `Judge.referred`."""

    def built(self, target: Any, state: Any) -> None:
        """As `Judge.built`; the state is kept by what was made."""
        if not isinstance(target, Made):
            raise PickleDataError("a state for what was not made")


def inert_value(data: Buffer, *, most_bytes: int, judge: Judge | None = None) -> Any:
    """The value that a pickle describes, with `Named`, `Made` and `Outside` where unpickling would run code.

    `most_bytes` bounds the memory that its objects would take, here or as torch makes them.

    Raises:
        PickleDataError: the bytes end early, hold another operation, or cost more than that.
    """
    return inert_prefix(data, 0, most_bytes=most_bytes, judge=judge)[0]


def inert_prefix(data: Buffer, start: int, *, most_bytes: int, judge: Judge | None = None) -> tuple[Any, int]:
    """The value of the pickle that begins at `start`, and the place behind it; otherwise as `inert_value`."""
    machine = _Machine(data, start, most_bytes, judge or AnyCall())
    try:
        return machine.run(), machine.place
    except PickleDataError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, struct.error) as error:
        raise PickleDataError(f"{type(error).__name__}: {error}") from None


class _Machine:
    """A pickle machine's stack, the stacks below its marks, and its memo; a dict, so that no index makes it large."""

    def __init__(self, data: Buffer, start: int, most_bytes: int, judge: Judge) -> None:
        self.stack: list[Any] = []
        self.place = start
        self._data, self._judge, self._left, self._most = data, judge, most_bytes, most_bytes
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._nested: dict[int, tuple[Any, int]] = {}  # tuples of tuples, kept so that no other takes their identity
        self._odd_keys = 0

    def run(self) -> Any:
        """Do every operation up to the end."""
        data, operations = self._data, _OPERATIONS
        for _ in range(_MOST_OPERATIONS):
            if self.place >= len(data):
                raise PickleDataError("no end")
            code = data[self.place]
            self.place += 1
            if code == _STOP:
                return self.stack.pop()
            operation = operations.get(code)
            if operation is None:
                raise UnsafePickleError(f"Unsupported operand {code}")
            operation(self)
        raise PickleDataError(f"more than {_MOST_OPERATIONS:,} operations")

    def _take(self, count: int) -> bytes:
        taken = self._data[self.place : self.place + count]
        if len(taken) < count:
            raise PickleDataError("no end")
        self.place += count
        return taken

    def _pass_protocol(self) -> None:
        self._take(1)  # on which nothing here depends

    def _line(self) -> str:
        end = self._data.find(b"\n", self.place, self.place + _LONGEST_LINE)
        if end < 0:
            raise PickleDataError("a name without end")
        line = self._data[self.place : end]
        self.place = end + 1
        return line.decode("utf-8")

    def _push(self, value: Any, size: int = _OBJECT_BYTES) -> None:
        self._pay(size)
        self.stack.append(value)

    def _pay(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise PickleDataError(f"objects of more than {self._most:,} bytes")

    def _pop_mark(self) -> list[Any]:
        marked, self.stack = self.stack, self._below.pop()
        return marked

    def _push_number(self, form: struct.Struct) -> None:
        self._push(form.unpack(self._take(form.size))[0])

    def _push_text(self) -> None:
        data = self._take(_U4.unpack(self._take(4))[0])
        text = data.decode("utf-8", "surrogatepass")
        self._push(text, _OBJECT_BYTES + (1 if data.isascii() else 4) * len(text))

    def _push_bytes(self) -> None:
        # torch.load decodes what Python 2 wrote, with the encoding that it is given: utf-8
        data = self._take(self._take(1)[0])
        self._push(data.decode("utf-8"), _OBJECT_BYTES + 4 * len(data))

    def _push_long(self) -> None:
        data = self._take(self._take(1)[0])
        self._push(decode_long(data), _OBJECT_BYTES + 2 * len(data))

    def _push_global(self) -> None:
        module, name = self._line(), self._line()
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"
        self._judge.named(full)
        self._push(Named(name=full))

    def _mark(self) -> None:
        self._pay(_OBJECT_BYTES)
        self._below.append(self.stack)
        self.stack = []

    def _remember(self, form: struct.Struct) -> None:
        self._pay(_ENTRY_BYTES)
        self._memo[form.unpack(self._take(form.size))[0]] = self.stack[-1]

    def _recall(self, form: struct.Struct) -> None:
        self._push(self._memo[form.unpack(self._take(form.size))[0]], _ITEM_BYTES)

    def _push_tuple(self, items: Iterable[Any]) -> None:
        value = tuple(items)
        depth = 1 + max((self._depth(item) for item in value if isinstance(item, tuple)), default=0)
        if depth > _DEEPEST_TUPLE:
            raise PickleDataError(f"tuples nested more than {_DEEPEST_TUPLE} deep")
        if depth > 1:
            self._pay(2 * _ENTRY_BYTES)
            self._nested[id(value)] = (value, depth)
        self._push(value, _OBJECT_BYTES + _ITEM_BYTES * len(value))

    def _depth(self, value: tuple[Any, ...]) -> int:
        return self._nested[id(value)][1] if id(value) in self._nested else 1

    def _push_last(self, count: int) -> None:
        if len(self.stack) < count:
            raise PickleDataError("a tuple of more than there is")
        items = self.stack[-count:]
        del self.stack[-count:]
        self._push_tuple(items)

    def _append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise PickleDataError(f"items for a {maker_name(target)}")
        self._pay(2 * _ITEM_BYTES * len(items))
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if len(items) % 2:
            raise PickleDataError("a key without a value")
        self._pay(_ENTRY_BYTES * (len(items) // 2))
        self._odd_keys += sum(check_key(key) for key in items[::2])
        if self._odd_keys > _MOST_ODD_KEYS:
            raise PickleDataError(f"more than {_MOST_ODD_KEYS:,} keys that are neither text nor small numbers")
        if isinstance(target, dict):
            target.update(zip(items[::2], items[1::2], strict=True))
        elif not isinstance(target, Made):  # what is made here has no items: whether it may, torch says
            raise PickleDataError(f"items for a {maker_name(target)}")
        else:
            self._judge.given_items(target)

    def _call(self) -> None:
        arguments, maker = self.stack.pop(), self.stack.pop()
        made = Made(maker=maker, arguments=arguments)
        self._pay(_CALL_BYTES)
        made.finding = self._judge.called(made)
        self.stack.append(made)

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        self._judge.built(target, state)
        if isinstance(target, Made):
            target.state = state

    def _refer(self) -> None:
        reference = self.stack.pop()
        self._push(Outside(reference=reference, finding=self._judge.referred(reference)), 4 * _OBJECT_BYTES)


_U1, _U2, _U4, _I4 = struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<i")
_F8 = struct.Struct(">d")
_STOP = ord(".")

_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    0x80: _Machine._pass_protocol,
    ord("c"): _Machine._push_global,
    ord("R"): _Machine._call,
    0x81: _Machine._call,
    ord("b"): _Machine._build,
    ord("Q"): _Machine._refer,
    ord("("): _Machine._mark,
    ord("a"): lambda machine: machine._append([machine.stack.pop()]),
    ord("e"): lambda machine: machine._append(machine._pop_mark()),
    ord("s"): lambda machine: machine._set_items([machine.stack.pop(-2), machine.stack.pop()]),
    ord("u"): lambda machine: machine._set_items(machine._pop_mark()),
    ord("t"): lambda machine: machine._push_tuple(machine._pop_mark()),
    0x85: lambda machine: machine._push_last(1),
    0x86: lambda machine: machine._push_last(2),
    0x87: lambda machine: machine._push_last(3),
    ord("N"): lambda machine: machine._push(None, _ITEM_BYTES),
    0x88: lambda machine: machine._push(True, _ITEM_BYTES),
    0x89: lambda machine: machine._push(False, _ITEM_BYTES),
    ord(")"): lambda machine: machine._push((), _ITEM_BYTES),
    ord("]"): lambda machine: machine._push([]),
    ord("}"): lambda machine: machine._push({}),
    0x8F: lambda machine: machine._push(set(), 4 * _OBJECT_BYTES),
    ord("J"): lambda machine: machine._push_number(_I4),
    ord("K"): lambda machine: machine._push_number(_U1),
    ord("M"): lambda machine: machine._push_number(_U2),
    ord("G"): lambda machine: machine._push_number(_F8),
    ord("X"): _Machine._push_text,
    ord("U"): _Machine._push_bytes,
    0x8A: _Machine._push_long,
    ord("q"): lambda machine: machine._remember(_U1),
    ord("r"): lambda machine: machine._remember(_U4),
    ord("h"): lambda machine: machine._recall(_U1),
    ord("j"): lambda machine: machine._recall(_U4),
}
