"""What is compared: PyTorch or a runtime session behind one row's name, opened or refused with the reason."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from rnnx.cases import Case
from rnnx_runtime import BACKEND_NAMES, BackendName, Session, State, load

Array = NDArray[Any]

PYTORCH_ROWS = ("pytorch-cpu", "pytorch-cuda")

NETWORK_ROW = "tensorrt-network"
"""The network that TensorRT's importer made of the model, evaluated in NumPy: no kernel of any backend runs."""

ROW_NAMES: tuple[str, ...] = (*PYTORCH_ROWS, *BACKEND_NAMES, NETWORK_ROW)
"""Every row a report can have, in its order."""


def runs_the_model(row: str) -> bool:
    """Whether a row runs the exported file as a service would; PyTorch and the parsed network prove less."""
    return row not in (*PYTORCH_ROWS, NETWORK_ROW)


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

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs of one case; a state of zeros is left out, as a caller would."""
        state = None if case.starts_from_zeros else _state(case.feeds)
        output, last = self._session.run(case.feeds["x"], state, case.feeds.get("lengths"))
        values = {"output": output, "hn": last.h, "cn": last.c}
        named = ((spec.name, values[spec.name]) for spec in self._session.spec.outputs)
        return {name: value for name, value in named if value is not None}

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One `session.run`, its checks of the inputs included."""
        x, state, lengths = feeds["x"], _state(feeds), feeds.get("lengths")
        return lambda: self._session.run(x, state, lengths)

    def prepare_on_device(self, feeds: Mapping[str, Array]) -> Callable[[], float] | None:
        """A run over inputs that lie on the device, which says the device's time in ms; None on a CPU."""
        return self._session.resident(feeds["x"], _state(feeds), feeds.get("lengths"))

    def prepare_stream(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """Steps as a service makes them, each from the state that the last one gave."""
        x, state, lengths = feeds["x"], _state(feeds), feeds.get("lengths")

        def step() -> None:
            nonlocal state
            _, state = self._session.run(x, state, lengths)

        return step

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def _state(feeds: Mapping[str, Array]) -> State | None:
    return State(feeds["h0"], feeds.get("c0")) if "h0" in feeds else None
