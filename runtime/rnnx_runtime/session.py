"""A session: one opened model, run with arrays and a state that is a value."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import shape_from_sizes
from rnnx_runtime.arrays.out_buffers import OutBuffers
from rnnx_runtime.arrays.time_axis import StepAxes, why_no_next_step
from rnnx_runtime.arrays.zero_states import zero_state
from rnnx_runtime.backends.table import Backend, DescribedBackend, DeviceBackend
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import InputError
from rnnx_runtime.feeding import Feeding
from rnnx_runtime.ragged import RaggedRuns
from rnnx_runtime.state import Part, State, on_host, state_of
from rnnx_runtime.threads.call_gate import CallGate

if TYPE_CHECKING:
    from rnnx_runtime.bound_step import BoundStep
    from rnnx_runtime.stepper import Stepper
    from rnnx_runtime.stream import Snapshot, Stream

_Result = TypeVar("_Result")
Out = Array | Mapping[str, Array]

_ARRAY = np.ndarray


class Session:
    """An opened model. `spec` is its contract, `backend` the name of what runs it, `device` where it really runs.

    A model with one plain input and one plain output takes an array and gives one; any model takes a mapping of arrays
    by name and gives one. Results never alias arguments or each other's next values, unless `out` asks for it. Safe to
    use from many threads; `close` waits for the calls in flight. A process that forks must load in each child: an
    engine's threads and locks stay behind.
    """

    def __init__(self, contract: Contract, backend: Backend, name: str | None = None) -> None:
        self.spec = contract
        self.backend = name or type(backend).__name__
        self.device = backend.device
        self._backend = backend
        self._gate = CallGate(backend.close)
        self._feeding = Feeding(contract, backend)
        self._outputs = OutBuffers(contract)
        places = {spec.name: place for place, spec in enumerate(contract.outputs)}
        self._state_names = self._feeding.state_names
        self._state_places = tuple(places[pair.output] for pair in contract.following)
        self._picked = _picker(self._state_places)
        self._plain = tuple((spec.name, places[spec.name]) for spec in contract.plain_outputs)
        self._lone_input = contract.plain_inputs[0].name if len(contract.plain_inputs) == 1 else None
        self._lone = self._plain[0][1] if len(self._plain) == 1 else None
        self._y_is_state = self._plain[0][1] in self._state_places
        self._no_next = why_no_next_step(contract)
        self._axes = StepAxes(contract)
        self._owner: dict[str, object] = {}
        ragged = RaggedRuns(contract)
        self._ragged = ragged if ragged.is_possible and self.device == "CPU" else None

    @overload
    def run(
        self,
        inputs: Mapping[str, Any],
        state: Mapping[str, Any] | None = None,
        lengths: Any = None,
        *,
        out: Mapping[str, Array] | None = None,
    ) -> tuple[dict[str, Array], State]: ...

    @overload
    def run(
        self, inputs: Any, state: Mapping[str, Any] | None = None, lengths: Any = None, *, out: Out | None = None
    ) -> tuple[Array, State]: ...

    def run(
        self, inputs: Any, state: Mapping[str, Any] | None = None, lengths: Any = None, *, out: Out | None = None
    ) -> tuple[Any, State]:
        """Run the model over `inputs` from `state`: `y, state = session.run(x, state)`.

        Arguments may be anything that NumPy or DLPack can view in host memory, such as an array, a memoryview or a
        PyTorch tensor; nothing is cast but lengths, and copied only where it is not C-contiguous.

        Args:
            inputs: the one plain input, such as x `(T, B, I)`; or a mapping of every plain input by name, in which
                lengths may be too. Equal symbols are equal sizes.
            state: the state to start from, a `State` or a mapping of all states by the names of their inputs; zeros
                when left out.
            lengths: integers of any type `(B,)` in 1..T, for a model with lengths; a mapping by name where it has
                several. T for every row when left out.
            out: where to write: an array for the one plain output, or a mapping of outputs to arrays, of which any may
                be left out. Each is C-contiguous and exactly of its dtype and shape. The results are these arrays, and
                overlap no argument, but that a state's output may be the very array of `state` that came in, which is
                then updated in place.

        Returns:
            The output (`hn` for a step) of an array; of a mapping the plain outputs by name. And the next state.

        Raises:
            InputError: a name that is missing or unknown, a wrong type, dtype, rank, size or length, half a state, or
                an argument that this model does not take.
            SessionClosedError: the session was closed.
            ForkedError: the session was loaded in another process.
            BackendError: the backend failed.
        """
        # An array is known by its type: asking whether it is a `Mapping` would cost as much as the rest of the checks.
        kind = type(inputs)
        is_named = kind is dict or (kind is not _ARRAY and isinstance(inputs, Mapping))
        if self._lone is None and not is_named:
            raise self._several_outputs(inputs)
        self._gate.enter()
        try:
            feeds = self._feeding.feeds(inputs, state, lengths)
            if out is not None:
                return self._run_into(inputs, out, feeds)
            values: list[Any]  # in the contract's order
            if self._ragged is not None and (parts := self._ragged.parts(feeds)):
                values = self._ragged.run(feeds, parts, self._backend)
            else:
                values = self._backend.run(feeds)
        finally:
            self._gate.leave()
        following = state_of(self._state_names, self._picked(values))
        if is_named:
            return self._named(values), following
        y = values[self._lone]  # type: ignore[index] # there is one, or it would have been refused above
        return _copy_of(y) if self._y_is_state else y, following

    @overload
    def step(
        self,
        inputs: Mapping[str, Any],
        state: Mapping[str, Any] | None = None,
        *,
        out: Mapping[str, Array] | None = None,
    ) -> tuple[dict[str, Array], State]: ...

    @overload
    def step(
        self, inputs: Any, state: Mapping[str, Any] | None = None, *, out: Out | None = None
    ) -> tuple[Array, State]: ...

    def step(self, inputs: Any, state: Mapping[str, Any] | None = None, *, out: Out | None = None) -> tuple[Any, State]:
        """One time step: `y, state = session.step(x, state)`; arrays have no axis of time.

        Args:
            inputs: the one plain input, such as x `(B, I)`; or a mapping of every plain input by name.
            state: the state to start from, as in `run`; zeros when left out.
            out: where to write, as in `run`; a lone array, or the mapping's `output`, is for `y`.

        Returns:
            `y`, such as `(B, D·P)`, or the outputs by name; and the next state.

        Raises:
            InputError: as `run`; also for a model without a single next step, such as a bidirectional encoder.
        """
        if self._no_next:
            raise self._no_next_step()
        if not self._axes.has_time:
            return self.run(inputs, state, out=out)
        axes = self._axes
        if type(inputs) is not _ARRAY and isinstance(inputs, Mapping):
            whole = {name: axes.with_time(name, value) for name, value in inputs.items()}
            if out is not None:
                return self._step_into(whole, out, state)
            outputs, following = self.run(whole, state)
            return {name: axes.without_time(name, value) for name, value in outputs.items()}, following
        x = inputs if self._lone_input is None else axes.with_time(self._lone_input, inputs)
        if out is not None:
            return self._step_into(x, out, state)
        output, following = self.run(x, state)
        return axes.without_time(self._plain[0][0], output), following

    def stepper(self, state: Mapping[str, Any] | None = None, *, copy: bool = True) -> "Stepper":
        """Steps that go on from each other: `y = stepper.step(x)` at about half the cost of `step` for a small model.

        Args:
            state: where to start, which is copied; zeros when left out.
            copy: whether results are arrays of the caller's. Without, they are read-only views that the stepper's next
                step overwrites.

        Raises:
            InputError: the model has no single next step, or no states.
        """
        from rnnx_runtime.stepper import Stepper  # here: who only runs sequences need not wait for it

        if self._no_next:
            raise self._no_next_step()
        return Stepper(self, state, copy=copy)

    def bound_step(self, inputs: Any, state: State) -> "BoundStep | None":
        """A step of these arguments' shapes on buffers of its own, from this state; None where it cannot be bound."""
        from rnnx_runtime.bound_step import bound_step_from_feeds

        named = inputs if isinstance(inputs, Mapping) else {str(self._lone_input): inputs}
        whole = {name: self._axes.with_time(name, value) for name, value in named.items()}
        self._gate.enter()
        try:
            feeds = self._feeding.feeds(whole, state, None)
            return bound_step_from_feeds(self.spec, self._axes, feeds, self._backend, self._gate)
        finally:
            self._gate.leave()

    def resident(
        self, inputs: Any, state: Mapping[str, Any] | None = None, lengths: Any = None
    ) -> Callable[[], float] | None:
        """The same run with inputs and outputs resident on the device, for measuring; arguments and errors as `run`.

        Returns:
            A call that runs the model once and says the device's time in ms, valid until `run` is called with other
            sizes; None on a CPU.
        """
        run = self._gated(partial(self._resident, inputs, state, lengths))
        return None if run is None else partial(self._gated, run)

    def initial_state(self, batch: int, **sizes: int) -> State:
        """A state of zeros for `batch` rows; `sizes` are those of other symbols that the states have.

        Raises:
            InputError: batch is not a positive whole number, or a symbol's size is missing.
        """
        specs = [self.spec.outputs[place] for place in self._state_places]
        return zero_state(self._state_names, specs, batch, sizes)

    def stream(
        self, snapshot: "Snapshot | None" = None, *, any_weights: bool = False, allow_chunked: bool = False
    ) -> "Stream":
        """One conversation on this session, from zeros or from a snapshot; arguments and errors as `Stream`."""
        from rnnx_runtime.stream import Stream  # here: who only steps need not wait for it

        return Stream(self, snapshot, any_weights=any_weights, allow_chunked=allow_chunked)

    def describe(self) -> dict[str, str | int | None]:
        """Where it runs and what the backend says of how, such as why it captures no CUDA graphs, as plain data."""
        said = self._backend.describe() if isinstance(self._backend, DescribedBackend) else {}
        return {"backend": self.backend, "device": self.device, **said}

    def close(self) -> None:
        """Free the backend once the calls in flight are done; closing twice is harmless, and both wait.

        In a forked child it does nothing, for the backend is the parent's.
        """
        self._gate.close()

    def claim(self, owner: object) -> None:
        """Have one owner, a pool, run and close the session.

        Raises:
            InputError: it has an owner.
            SessionClosedError: the session was closed.
        """
        self._gate.refuse_closed()
        if self._owner.setdefault("owner", owner) is not owner:
            raise InputError(
                "session",
                got="the session of a pool",
                expected="one that no pool runs",
                remedy="load the model once more for each pool and each swap",
            )

    def disclaim(self, owner: object) -> None:
        """Give back a session that was claimed and not used."""
        if self._owner.get("owner") is owner:
            self._owner.clear()

    def _named(self, values: list[Any]) -> dict[str, Array]:
        """The plain outputs by name."""
        if self._y_is_state:
            return {name: _copy_of(values[place]) for name, place in self._plain}
        return {name: values[place] for name, place in self._plain}

    def _several_outputs(self, inputs: object) -> InputError:
        names = ", ".join(name for name, _ in self._plain)
        listed = ", ".join(spec.name for spec in self.spec.plain_inputs)
        return InputError(
            "inputs",
            got=f"one {type(inputs).__name__} for a model of several outputs, {names}",
            expected=f"a mapping of {listed} to arrays",
            remedy="name the input: the outputs come by name too",
        )

    def _run_into(self, inputs: Any, out: Out, feeds: Any) -> tuple[Any, State]:
        buffers = self._outputs.checked(out, feeds)
        y = buffers.pop(str(self._outputs.y), None) if self._y_is_state else None
        values: list[Any] = self._backend.run(feeds, buffers)
        following = state_of(self._state_names, self._picked(values))
        if self._y_is_state:
            if y is None:
                y = _copy_of(values[self._plain[0][1]])
            else:
                y[...] = on_host(values[self._plain[0][1]])
            return {self._plain[0][0]: y} if isinstance(inputs, Mapping) else y, following
        if self._lone is None or isinstance(inputs, Mapping):
            return self._named(values), following
        return values[self._lone], following

    def _step_into(self, inputs: Any, out: Out, state: Mapping[str, Any] | None) -> tuple[Any, State]:
        """A step of a model whose outputs have an axis of time, which the caller's buffers have not."""
        buffers = self._outputs.named(out)
        given: dict[str, Any] = {}
        sizes = self._feeding.sizes(inputs)
        for spec in self.spec.plain_outputs:
            if spec.name in buffers:
                index = self._axes.output_index(spec.name)
                dims = [dim for dim, own in zip(spec.dims, index, strict=True) if own != 0]
                shape = shape_from_sizes(replace(spec, dims=tuple(dims)), sizes)
                given[spec.name] = buffers[spec.name]
                self._outputs.check_step(spec.name, given[spec.name], shape)
                whole = tuple(None if own == 0 else own for own in index)
                buffers[spec.name] = given[spec.name][whole]
        results, following = self.run(inputs, state, out=buffers)
        if isinstance(results, dict):
            steps = {n: given[n] if n in given else self._axes.without_time(n, v) for n, v in results.items()}
            return steps, following
        name = self._plain[0][0]
        return given[name] if name in given else self._axes.without_time(name, results), following

    def _resident(self, inputs: Any, state: Any, lengths: Any) -> Callable[[], float] | None:
        feeds = self._feeding.feeds(inputs, state, lengths)
        return self._backend.resident(feeds) if isinstance(self._backend, DeviceBackend) else None

    def _gated(self, call: Callable[[], _Result]) -> _Result:
        self._gate.enter()
        try:
            return call()
        finally:
            self._gate.leave()

    def _no_next_step(self) -> InputError:
        return InputError(
            "step",
            got=self._no_next,
            expected="a model with a single next step",
            remedy="use run, or export the decoder in form step",
        )

    def __repr__(self) -> str:
        spec, bare = self.spec, self.spec.bare
        what = f"{bare.cell.upper()} {bare.form}" if bare else spec.source.file or "model"
        inputs = ", ".join(f"{own.name} {own.shape}" for own in spec.plain_inputs)
        closed = ", closed" if self._gate.is_closing else ""
        return f"<Session: {what}, {inputs}, on {self.device}{closed}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _picker(places: tuple[int, ...]) -> Callable[[Any], tuple[Part, ...]]:
    """What takes the values at these places out of a list, as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return (lambda values: (values[places[0]],)) if places else (lambda values: ())


def _copy_of(value: Any) -> Array:
    """A step's `y`, which holds the values of the next `h` and must not be its memory, or writing to it would show."""
    copy: Array = value.copy() if isinstance(value, np.ndarray) else value.numpy()
    return copy
