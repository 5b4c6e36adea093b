"""A session over a whole model: named arrays in, named arrays out, and states as values."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.backends import Backend, DescribedBackend
from rnnx_runtime.call_gate import CallGate
from rnnx_runtime.model_contract import ModelContract
from rnnx_runtime.model_feeding import ModelFeeding

Array = NDArray[Any]


class ModelSession:
    """An opened whole model. `spec` is its contract, `backend` what runs it, `device` where it really runs.

    Safe to use from many threads; `close` waits for the calls in flight. A process that forks must load in each child.
    """

    def __init__(self, contract: ModelContract, backend: Backend, name: str | None = None) -> None:
        self.spec = contract
        self.backend = name or type(backend).__name__
        self.device = backend.device
        self._backend = backend
        self._gate = CallGate(backend.close)
        self._feeding = ModelFeeding(contract)
        self._inputs_of = {pair.output: pair.input for pair in contract.states}

    def run(
        self, inputs: Mapping[str, Any], state: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Run the model: `outputs, state = session.run({"x": x}, state)`.

        Values may be anything that NumPy or DLPack can view in host memory; nothing is cast, but that lengths may be
        integers of any type, or a list.

        Args:
            inputs: every input of the contract that is no state, by name. Equal symbols are equal sizes; lengths are
                in 1..T.
            state: the states to start from by the names of their inputs; zeros for those left out.

        Returns:
            The outputs that are no states, by name; and the states for the next call, by the names of their inputs.

        Raises:
            InputError: a name that is missing or unknown, or a wrong type, dtype, rank, size or length.
            SessionClosedError: the session was closed.
            ForkedError: the session was loaded in another process.
            BackendError: the backend failed.
        """
        self._gate.enter()
        try:
            values = self._backend.run(self._feeding.feeds(inputs, state))
        finally:
            self._gate.leave()
        outputs, following = dict[str, Array](), dict[str, Array]()
        for spec, value in zip(self.spec.outputs, values, strict=True):
            array = value if isinstance(value, np.ndarray) else value.numpy()
            if spec.name in self._inputs_of:
                following[self._inputs_of[spec.name]] = array
            else:
                outputs[spec.name] = array
        return outputs, following

    def describe(self) -> dict[str, str | int | None]:
        """Where it runs and what the backend says of how, as plain data."""
        said = self._backend.describe() if isinstance(self._backend, DescribedBackend) else {}
        return {"backend": self.backend, "device": self.device, **said}

    def close(self) -> None:
        """Free the backend once the calls in flight are done; closing twice is harmless, and both wait.

        In a forked child it does nothing, for the backend is the parent's.
        """
        self._gate.close()

    def __repr__(self) -> str:
        inputs = ", ".join(f"{spec.name} {spec.shape}" for spec in self.spec.inputs)
        closed = ", closed" if self._gate.is_closing else ""
        return f"<ModelSession: {self.spec.source.file or 'model'}, {inputs}, on {self.device}{closed}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
