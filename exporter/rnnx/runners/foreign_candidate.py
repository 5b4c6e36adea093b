"""An ONNX file that rnnx did not make, run by ONNX Runtime under the contract's names."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnnx.runners.foreign_model import ForeignModel
from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array
from rnnx_runtime.backends.onnxruntime import SHAPE_OPERATORS, open_session
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.errors import BackendError

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"} | {
    f"tensor({name})": name for name in ("int8", "uint8", "int32", "int64", "bool")
}


class ForeignCandidate:
    """A session whose inputs and outputs have other names, dtypes and perhaps fewer outputs than a contract's."""

    def __init__(self, name: str, model: ForeignModel, threads: int) -> None:
        """Raises `BackendUnavailable` or `BackendError`, as `open_session`."""
        self._session, self.device = open_session(
            name, model.file, SessionOptions(threads=threads), cpu_operators=SHAPE_OPERATORS
        )
        self.name = name
        self._names = model.names
        self._outputs = [spec.name for spec in model.outputs]
        self._dtypes = {value.name: _DTYPES.get(value.type, value.type) for value in self._session.get_inputs()}

    def outputs(self, case: Case) -> dict[str, Array]:
        """Those of the contract's outputs that the file gives.

        Raises:
            BackendError: ONNX Runtime refused the inputs or failed.
        """
        return dict(zip(self._outputs, self._run(self._feeds(case.feeds)), strict=True))

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One bare run over inputs that have the graph's dtypes."""
        ready = self._feeds(feeds)
        return lambda: self._run(ready)

    def close(self) -> None:
        """Let go of the session."""
        self._session = None

    def _feeds(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {
            self._names[name]: np.ascontiguousarray(value.astype(self._dtypes[self._names[name]], copy=False))
            for name, value in feeds.items()
        }

    def _run(self, feeds: Mapping[str, Array]) -> list[Any]:
        try:
            values: list[Any] = self._session.run([self._names[name] for name in self._outputs], feeds)
        except Exception as error:  # ONNX Runtime's own errors share no base but Exception
            raise BackendError(
                "ONNX Runtime run",
                got=" ".join(str(error).split()),
                expected="a result at these sizes",
                remedy="the file does not take them: rnnx doctor says which node fixes a size",
            ) from error
        return values
