"""The states of a model as a value, wherever they lie."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.array_type import Array


@runtime_checkable
class DeviceTensor(Protocol):
    """A part of a state that lies in the memory of a device, and never changes once a run has given it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, as of an array."""

    @property
    def owner(self) -> object:
        """The backend whose memory it lies in; another backend takes a copy from the host."""

    def numpy(self) -> NDArray[Any]:
        """A fresh copy in host memory; waits until the device has computed it."""


Part = Array | DeviceTensor


def on_host(part: Part) -> Array:
    """A part as an array; a device's is copied."""
    return part if isinstance(part, np.ndarray) else part.numpy()


_new = object.__new__


class State(Mapping[str, Array]):
    """A model's states by the names of the inputs that take them: `state["h0"]`, or `state.h` and `state.c` for short.

    A bare layer's is `State(h, c)`, or `State(h)` of a GRU: `(L·D, B, P)` and `(L·D, B, H)` of an encoder, `(B, H)` of
    a cell. Any other is `State({"encoder_h0": …})`. A state that a GPU computed stays there and is copied to the host
    when it is asked for. States are values: a later run never changes an earlier state.
    """

    __slots__ = ("_names", "_values")

    def __init__(self, h: Part | Mapping[str, Part], c: Part | None = None) -> None:
        named = h if isinstance(h, Mapping) else {"h0": h} if c is None else {"h0": h, "c0": c}
        self._names: tuple[str, ...] = tuple(named)
        values = [value if hasattr(value, "shape") else np.asarray(value) for value in named.values()]
        self._values: tuple[Part, ...] = tuple(values)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs that take it."""
        return self._names

    @property
    def parts(self) -> tuple[Part, ...]:
        """The values where they lie, in the order of `names`."""
        return self._values

    @property
    def h(self) -> Array:
        """The hidden state in host memory.

        Raises:
            AttributeError: the model has none or several; says which states there are.
        """
        found = self._only("h0")
        if found is None:
            raise self._ambiguous("h")
        return self[found]

    @property
    def c(self) -> Array | None:
        """The cell state in host memory, None of a GRU; raises as `h` where there are several."""
        self._only("h0")
        found = self._only("c0")
        return None if found is None else self[found]

    @property
    def is_on_device(self) -> bool:
        """Whether asking for a value copies from a device."""
        return not all(isinstance(value, np.ndarray) for value in self._values)

    def _only(self, ending: str) -> str | None:
        """The one name that ends so, or the state's only name for `h`."""
        found = [
            name for name in self._names if name in (ending, ending[0]) or name.endswith((f"_{ending}", f".{ending}"))
        ]
        if len(found) > 1:
            raise self._ambiguous(ending[0])
        if not found and ending == "h0" and len(self._names) == 1:
            return self._names[0]
        return found[0] if found else None

    def _ambiguous(self, name: str) -> AttributeError:
        return AttributeError(f"no single state {name!r} among {', '.join(self._names)}; ask for one by its name")

    def __getitem__(self, name: str) -> Array:
        try:
            value = self._values[self._names.index(name)]
        except ValueError:
            raise KeyError(name) from None
        return value if isinstance(value, np.ndarray) else value.numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    __eq__ = object.__eq__  # a mapping's would compare arrays
    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Callable[..., "State"], tuple[dict[str, Array]]]:
        return State, (dict(self),)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {value.shape}" for name, value in zip(self._names, self._values, strict=True))
        return f"<State: {parts}{', on a device' if self.is_on_device else ''}>"


def state_of(names: tuple[str, ...], values: tuple[Part, ...]) -> State:
    """The state of these values, each under the name at its place; nothing is checked."""
    state = _new(State)
    state._names = names
    state._values = values
    return state
