"""Opening a model as a session."""

import os
from pathlib import Path

from rnnx_runtime.backends import BACKEND_NAMES, BackendName, default_backend, open_backend
from rnnx_runtime.errors import BackendUnavailable, InputError
from rnnx_runtime.model_file import read_model
from rnnx_runtime.session import Session

MOST_THREADS = 1024
"""More CPU threads than any host of a recurrent model has; a larger number is a mistake."""


def load(path: str | os.PathLike[str], backend: BackendName | None = None, *, threads: int = 1) -> Session:
    """Open an .onnx or a .plan that rnnx wrote.

    Args:
        path: the model's file.
        backend: where to run; left out, an .onnx runs on `ort-cpu` and a .plan on the library that built it. A backend
            that cannot run here is an error, never another backend in its place.
        threads: CPU threads of the session.

    Raises:
        FileDamagedError: missing, truncated, foreign, or changed since it was written.
        ContractError: no contract, one of another version, or one that does not match the file.
        BackendUnavailable: this host cannot run the backend; says exactly why.
        BackendError: the backend refused the model.
        InputError: threads is not a whole number from 1 to `MOST_THREADS`.
    """
    if backend is not None and backend not in BACKEND_NAMES:
        raise BackendUnavailable(
            f"backend {backend!r}",
            got="an unknown name",
            expected=" | ".join(BACKEND_NAMES),
            remedy="choose one of these",
        )
    if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
        expected = f"a whole number from 1 to {MOST_THREADS}"
        raise InputError("threads", got=repr(threads), expected=expected, remedy="leave it out for 1")
    model = read_model(Path(path))
    return Session(model.contract, open_backend(backend or default_backend(model), model, threads))
