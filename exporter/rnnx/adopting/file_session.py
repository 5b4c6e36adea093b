"""A foreign file in ONNX Runtime on the CPU: what the process runs in which files from elsewhere are tried.

A file can end the process that runs it (ONNX Runtime divides by a size of 0 without asking), or never come to an end.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from rnnx.extras import require
from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array
from rnnx_runtime.backends.onnxruntime import open_session
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.errors import BackendError
from rnnx_runtime.files.model_file import OnnxFile

MEASURED = "measured"
"""The name of a case whose outputs come twice: the second time rounded otherwise."""

ROUNDED = "{} rounded"
"""What an output is called the second time."""

_MEMORY = 2**33
"""Bytes of addresses for a process that runs a file: Python, NumPy and ONNX Runtime, and activations."""

_TIMES_FILE = 8

_SEED = 20516
_UNIT = 2.0**-24
"""Half a unit in the last place of float32: as far as any input is known."""


class FileSession:
    """The file as it is served, under a contract's names; a `Candidate`."""

    name, device = "ONNX Runtime", "CPU"

    def __init__(self, file: OnnxFile, theirs: Mapping[str, str], outputs: Sequence[str]) -> None:
        """Open it; `theirs` has the graph's name of each input and output.

        Raises:
            BackendUnavailable: no ONNX Runtime is installed.
            BackendError: it refused the file.
        """
        _limit_memory(len(file.data))
        self._file, self._theirs, self._outputs = file, theirs, outputs
        self._session, _ = open_session("ort-cpu", file, SessionOptions())
        self._unoptimised: Any = None

    def outputs(self, case: Case) -> dict[str, Array]:
        """Every output by name; of a case called `MEASURED` each twice.

        The second is the one furthest from the first of those that differ by rounding alone: by other kernels, without
        ONNX Runtime's optimisations, and for inputs of another last bit.

        Raises:
            BackendError: ONNX Runtime refused the inputs, or failed.
        """
        values = self._run(self._session, case.feeds)
        if case.name != MEASURED:
            return values
        others = [self._run(self._session, _nudged(case.feeds))]
        if (session := self._plain_session()) is not None:
            others.append(self._run(session, case.feeds))
        rounded = {name: max((own[name] for own in others), key=_apart(value)) for name, value in values.items()}
        return values | {ROUNDED.format(name): value for name, value in rounded.items()}

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One call."""
        return lambda: self._run(self._session, feeds)

    def close(self) -> None:
        """Let go of the sessions."""
        self._session = self._unoptimised = None

    def _run(self, session: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
        # NumPy makes an array of no axes one of one axis where it makes it contiguous.
        given = {self._theirs[name]: np.asarray(value, order="C") for name, value in feeds.items()}
        try:
            values = session.run([self._theirs[name] for name in self._outputs], given)
        except Exception as error:  # ONNX Runtime's own errors share no base but Exception
            raise BackendError(
                "ONNX Runtime run",
                got=" ".join(str(error).split()),
                expected="a result at these sizes",
                remedy="say sizes that the file takes, such as --size T=16, and values, such as --value sr=16000",
            ) from None
        return {name: np.asarray(value) for name, value in zip(self._outputs, values, strict=True)}

    def _plain_session(self) -> Any:
        """The file without optimisations; None where some of it needs them, as fused operators do."""
        if self._unoptimised is None:
            onnxruntime = require("onnxruntime", extra="cpu", purpose="running a foreign file")
            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = settings.inter_op_num_threads = 1
            settings.log_severity_level = 4
            settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            source = str(self._file.path) if self._file.external_data else self._file.data
            try:
                self._unoptimised = onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])
            except Exception:  # ONNX Runtime's own errors share no base but Exception
                self._unoptimised = False
        return self._unoptimised or None


def _limit_memory(size: int) -> None:
    """Let this process have little more memory than a file of `size` bytes can need, where the system can say so.

    A graph of a few nodes can ask for terabytes, and Linux grants them until they are written to.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        resource = import_module("resource")
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        wanted = _MEMORY + _TIMES_FILE * size
        if most == resource.RLIM_INFINITY or wanted < most:
            resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _nudged(feeds: Mapping[str, Array]) -> dict[str, Array]:
    chance = np.random.default_rng(_SEED)
    return {
        name: np.asarray(value * (1 + _UNIT * chance.choice([-1, 1], value.shape)), value.dtype)
        if value.dtype.kind == "f"
        else value
        for name, value in feeds.items()
    }


def _apart(value: Array) -> Callable[[Array], float]:
    """How far another result is from a value; one of another shape is beyond all."""

    def distance(other: Array) -> float:
        if other.shape != value.shape or other.dtype.kind != "f" or not other.size:
            return 0.0 if np.array_equal(other, value) else float("inf")
        return float(np.nan_to_num(np.abs(other.astype(np.float64) - value), nan=np.inf).max())

    return distance
