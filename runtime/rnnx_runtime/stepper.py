"""Steps that go on from each other, on buffers that are bound once where the backend can."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.table_lookups import check_lookups
from rnnx_runtime.bound_step import BoundStep
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import InputError
from rnnx_runtime.state import State, state_of

_ARRAY = np.ndarray


class SteppedSession(Protocol):
    """What a stepper needs of a session."""

    @property
    def spec(self) -> Contract: ...

    def step(self, inputs: Any, state: State | None, /) -> tuple[Any, State]: ...

    def bound_step(self, inputs: Any, state: State, /) -> BoundStep | None: ...


class Stepper:
    """Steps of a batch whose state stays here: `stepper.step(x)` gives what `session.step(x, state)` gives, bit by bit.

    From the third step of the same shapes on, inputs, outputs and states are bound to buffers, where the backend binds
    (ONNX Runtime on a CPU) and the contract says every output's shape; two sets of states take turns, so that no state
    is copied. Any other step is a `Session.step`. A stepper is for one thread at a time, and many may share a session.
    """

    def __init__(self, session: SteppedSession, state: Mapping[str, Any] | None = None, *, copy: bool = True) -> None:
        """Start from zeros or a state; arguments and errors as `Session.stepper`."""
        if not session.spec.states:
            raise _stateless()
        self._session = session
        self._copy = copy
        self._tables = tuple(session.spec.table_sizes.items())
        plain = session.spec.plain_inputs
        self._lone = plain[0].name if len(plain) == 1 else None
        self._lone_output = session.spec.plain_outputs[0].name if len(session.spec.plain_outputs) == 1 else None
        self._dtypes = {spec.name: np.dtype(spec.dtype) for spec in plain}
        self._state: State | None = None
        self._is_bindable = True
        """Whether a step may be bound, as far as is known."""
        self._seen: tuple[Any, ...] | None = None
        """The shapes of the last step, if it was not bound."""
        self._bound: BoundStep | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        """Those of the bound step."""
        if state is not None:
            self.reset(state)

    def step(self, inputs: Any) -> Any:
        """One time step of the batch; arguments, results and errors as `Session.step`.

        A step that fails leaves the state as it was.
        """
        bound = self._bound
        lone = self._lone
        if bound is not None and lone is not None and type(inputs) is _ARRAY:
            if inputs.shape == self._shapes[lone] and inputs.dtype is self._dtypes[lone] and self._lone_output:
                y = self._run_bound(bound, {lone: inputs})[self._lone_output]
                return y.copy() if self._copy else y
        elif bound is not None and isinstance(inputs, Mapping) and self._fits(inputs):
            results = self._run_bound(bound, inputs)
            return {name: value.copy() for name, value in results.items()} if self._copy else dict(results)
        return self._step_unbound(inputs)

    @property
    def state(self) -> State:
        """The state after the last step; a value that no later step and no writing to it changes.

        Raises:
            InputError: there was no step and no state was given: nothing says the batch.
        """
        state = self.state_so_far
        if state is None:
            raise InputError(
                "state",
                got="a stepper that has neither stepped nor been given a state",
                expected="a batch",
                remedy="step first, or ask session.initial_state(batch)",
            )
        copied: State = _owned(state)
        return copied

    @property
    def state_so_far(self) -> State | None:
        """The state where it lies, which the next step may overwrite; None is zeros of any batch."""
        return self._state if self._bound is None else self._bound.state

    def reset(self, state: Mapping[str, Any] | None = None) -> None:
        """Go on from a state, which is copied, or from zeros; a wrong one is refused by the next step."""
        self._bound, self._seen = None, None
        self._state = None if state is None else _owned(state)

    def go_on_from(self, state: State) -> None:
        """Go on from a state that nobody else will change, such as one that a run of a whole chunk gave."""
        if self._bound is None or not self._bound.take(state):
            self._bound, self._state = None, state

    def _fits(self, inputs: Mapping[str, Any]) -> bool:
        if len(inputs) != len(self._dtypes):
            return False
        for name, dtype in self._dtypes.items():
            value = inputs.get(name)
            if type(value) is not _ARRAY or value.dtype is not dtype or value.shape != self._shapes[name]:
                return False
        return True

    def _run_bound(self, bound: BoundStep, inputs: Mapping[str, Array]) -> dict[str, Array]:
        for name, rows in self._tables:
            check_lookups(name, inputs.get(name), rows)
        return bound.run(inputs)

    def _step_unbound(self, inputs: Any) -> Any:
        results, following = self._session.step(inputs, self.state_so_far)
        self._bound, self._state = None, following
        if self._is_bindable:
            shapes = self._shapes_of(inputs)
            if shapes is not None and shapes == self._seen:
                self._bind(inputs, following)
            self._seen = shapes
        return results

    def _shapes_of(self, inputs: Any) -> tuple[Any, ...] | None:
        """The shapes of inputs that a bound step could take; None of others, such as a mapping with lengths."""
        if self._lone is not None and type(inputs) is _ARRAY:
            return (inputs.shape,)
        if not isinstance(inputs, Mapping) or inputs.keys() != self._dtypes.keys():
            return None
        return tuple([getattr(inputs[name], "shape", None) for name in self._dtypes])

    def _bind(self, inputs: Any, state: State) -> None:
        self._bound = self._session.bound_step(inputs, state)
        if self._bound is None:
            self._is_bindable = False
        else:
            self._shapes = self._bound.shapes


def _owned(state: Any) -> Any:
    """A copy of a state's arrays; a device's tensors never change."""
    if not isinstance(state, Mapping):
        return state
    parts = dict(zip(state.names, state.parts, strict=True)) if type(state) is State else state
    copies = [np.array(part) if isinstance(part, np.ndarray) else part for part in parts.values()]
    return state_of(tuple(parts), tuple(copies))


def _stateless() -> InputError:
    return InputError(
        "stepper",
        got="a model without state inputs",
        expected="a model that goes on from a state",
        remedy="export it with stateful=True (--stateful), or use Session.step",
    )
