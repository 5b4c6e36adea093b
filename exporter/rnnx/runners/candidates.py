"""What is compared: PyTorch or a runtime session behind one row's name, opened or refused with the reason."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from rnnx.truths.cases import Case
from rnnx_runtime import BackendName, Session, State, load
from rnnx_runtime.array_type import Array
from rnnx_runtime.dim_expressions import symbols_of


class Candidate(Protocol):
    """One row that runs: its name, where it really runs, its outputs for a case, one call to time."""

    name: str
    device: str

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs by name."""

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """A call from host memory to host memory, with everything that a service does once already done."""

    def close(self) -> None:
        """Let go of what the row holds."""


class SessionCandidate:
    """The session that a service would embed, opened with the runtime's own `load`."""

    def __init__(self, name: BackendName, path: Path, threads: int) -> None:
        """Raises as `rnnx_runtime.load`."""
        self._session: Session = load(path, name, threads=threads)
        self.name: str = name
        self.device = self._session.device
        spec = self._session.spec
        self._states = tuple(pair.input for pair in spec.states)
        others = [own for own in spec.inputs if own.name not in self._states]
        told = {symbol for own in others for dim in own.dims for symbol in symbols_of(dim)}
        self._is_sized = all(told.issuperset(symbols_of(dim)) for own in spec.state_specs for dim in own.dims)

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs of one case; a state of zeros is left out, as a caller would."""
        inputs, state = self._parted(case.feeds)
        left_out = self._is_sized and state is not None and not any(value.any() for value in state.values())
        outputs, following = self._session.run(inputs, None if left_out else state)
        found = outputs | {pair.output: following[pair.input] for pair in self._session.spec.following}
        return {spec.name: found[spec.name] for spec in self._session.spec.outputs}

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One `session.run`, its checks of the inputs included."""
        inputs, state, lengths = self._called(feeds)
        return lambda: self._session.run(inputs, state, lengths)

    def prepare_on_device(self, feeds: Mapping[str, Array]) -> Callable[[], float] | None:
        """A run over inputs that lie on the device, which says the device's time in ms; None on a CPU."""
        return self._session.resident(*self._called(feeds))

    def prepare_stream(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """Steps as a service makes them, each from the state that the last one gave."""
        inputs, first, lengths = self._called(feeds)
        state: Mapping[str, Any] | None = first

        def step() -> None:
            nonlocal state
            _, state = self._session.run(inputs, state, lengths)

        return step

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _parted(self, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], State | None]:
        """The inputs by name, lengths among them, and the state; None of a model that takes none."""
        inputs = {name: value for name, value in feeds.items() if name not in self._states}
        return inputs, State({name: feeds[name] for name in self._states}) if self._states else None

    def _called(self, feeds: Mapping[str, Array]) -> tuple[Any, State | None, Any]:
        """The arguments of `run` as a caller writes them: one array where the model has one input and output."""
        inputs, state = self._parted(feeds)
        spec = self._session.spec
        if len(spec.plain_inputs) > 1 or len(spec.plain_outputs) > 1 or len(spec.lengths) > 1:
            return inputs, state, None
        lengths = inputs.pop(spec.lengths[0]) if spec.lengths else None
        return inputs[spec.plain_inputs[0].name], state, lengths
