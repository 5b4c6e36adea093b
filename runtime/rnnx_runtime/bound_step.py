"""One step of fixed shapes on buffers that are bound once, its states handed to and fro between two of each."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import known_shape, sizes_from_feeds
from rnnx_runtime.arrays.time_axis import StepAxes
from rnnx_runtime.backends.table import Backend, BindableBackend
from rnnx_runtime.contract import Contract
from rnnx_runtime.state import State, state_of
from rnnx_runtime.threads.call_gate import CallGate


class BoundStep:
    """Buffers for a step's inputs, outputs and states, and two runs: each reads the state that the other wrote.

    A run that fails leaves the state as it was, for it writes into the other buffers.
    """

    def __init__(
        self,
        contract: Contract,
        axes: StepAxes,
        feeds: Mapping[str, Array],
        backend: BindableBackend,
        gate: CallGate,
    ) -> None:
        """Make the buffers of these feeds' shapes, which hold their values; what is not given again keeps them."""
        self._gate = gate
        self._names = tuple(pair.input for pair in contract.states)
        sizes = sizes_from_feeds(contract.inputs, feeds)
        given = {name: np.array(value, order="C") for name, value in feeds.items()}
        first = {pair.input: given[pair.input] for pair in contract.states}
        second = {name: np.empty_like(value) for name, value in first.items()}
        plain = {spec.name: np.empty(known_shape(spec, sizes) or (), spec.dtype) for spec in contract.outputs}
        self._parts = tuple(first.values()), tuple(second.values())
        self._runs: list[Callable[[], None]] = []
        self._results: list[dict[str, Array]] = []
        for source, target in ((first, second), (second, first)):
            out = plain | {pair.output: target[pair.input] for pair in contract.states}
            self._runs.append(backend.bind({**given, **source}, out))
            views = {spec.name: axes.without_time(spec.name, out[spec.name]) for spec in contract.plain_outputs}
            self._results.append({name: _read_only(view) for name, view in views.items()})
        self._inputs = {spec.name: axes.frame_of(spec.name, given[spec.name]) for spec in contract.plain_inputs}
        self.shapes = {name: buffer.shape for name, buffer in self._inputs.items()}
        """Those of a step's inputs, without an axis of time."""
        self._turn = 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run inputs of these shapes, and go on to the next state; gives read-only views of the outputs.

        The next run overwrites them. Raises what `Session.run` does but InputError.
        """
        turn = self._turn
        self._gate.enter()
        try:
            for name, buffer in self._inputs.items():
                buffer[...] = inputs[name]
            self._runs[turn]()
        finally:
            self._gate.leave()
        self._turn = 1 - turn
        return self._results[turn]

    @property
    def both_parts(self) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The two sets of buffers that take turns."""
        return self._parts

    def fits(self, inputs: Mapping[str, Array]) -> bool:
        """Whether inputs are of these shapes."""
        for name, shape in self.shapes.items():  # noqa: SIM110 - three times as fast as `all`
            if inputs[name].shape != shape:
                return False
        return True

    def take(self, state: State) -> bool:
        """Go on from another state, which is copied; False, and nothing is, where its shapes or names are others."""
        parts = dict(zip(state.names, state.parts, strict=True))
        own = dict(zip(self._names, self._parts[self._turn], strict=True))
        if parts.keys() != own.keys() or not all(_is_like(parts[name], value) for name, value in own.items()):
            return False
        for name, value in own.items():
            value[...] = parts[name]
        return True

    @property
    def parts(self) -> tuple[Array, ...]:
        """The buffers of the state now; the same tuple whenever it is in these."""
        return self._parts[self._turn]

    @property
    def state(self) -> State:
        """The state now, in buffers that a later run overwrites."""
        return state_of(self._names, self._parts[self._turn])


def bound_step_from_feeds(
    contract: Contract, axes: StepAxes, feeds: Mapping[str, Any], backend: Backend, gate: CallGate
) -> BoundStep | None:
    """A step of these feeds' shapes; None where it cannot be bound.

    That is where the backend does not bind, a feed is not in host memory, the contract leaves an output's shape open,
    or two states are the same output.
    """
    if not isinstance(backend, BindableBackend) or not all(type(value) is np.ndarray for value in feeds.values()):
        return None
    sizes = sizes_from_feeds(contract.inputs, feeds)
    left = [pair.output for pair in contract.states]
    if len(set(left)) < len(left) or any(known_shape(spec, sizes) is None for spec in contract.outputs):
        return None
    return BoundStep(contract, axes, feeds, backend, gate)


def _read_only(view: Array) -> Array:
    shown = view.view()
    shown.flags.writeable = False
    return shown


def _is_like(value: Any, buffer: Array) -> bool:
    return type(value) is np.ndarray and value.dtype == buffer.dtype and value.shape == buffer.shape
