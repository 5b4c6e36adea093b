"""Opening a model as a session."""

import os
import warnings
from pathlib import Path

from rnnx_runtime.backends.names import BACKEND_NAMES, BackendName
from rnnx_runtime.backends.policy import default_backend
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.backends.table import Backend, open_backend
from rnnx_runtime.errors import BackendUnavailable
from rnnx_runtime.files.model_file import ModelFile, OnnxFile, read_model
from rnnx_runtime.session import Session
from rnnx_runtime.threads.call_gate import CallGate


def load(
    path: str | os.PathLike[str],
    backend: BackendName | None = None,
    *,
    allow_fallback: bool = False,
    threads: int = 1,
    spinning: bool = True,
) -> Session:
    """Open an .onnx or a .plan that rnnx wrote, of a layer, a cell or a whole model.

    Where it runs: on `backend`, if one is named, or not at all. Left out, a .plan runs on the library that built it. An
    .onnx runs on `ort-cuda` where the installed ONNX Runtime is a CUDA build and this process sees a GPU, else on
    `ort-cpu`: a GPU that is there but cannot be used is an error that says why, and a host with no GPU is none.
    `session.backend` says which it is.

    Args:
        path: the model's file.
        backend: where to run; a backend that cannot run here is an error, never another backend in its place.
        allow_fallback: run an .onnx on `ort-cpu` where `ort-cuda` cannot run, with a RuntimeWarning that says why. A
            .plan never falls back.
        threads: CPU threads of the session.
        spinning: as `SessionOptions.spinning`.

    Raises:
        FileDamagedError: missing, truncated, foreign, or changed since it was written.
        ContractError: no contract, one of another version, or one that does not match the file.
        BackendUnavailable: this host cannot run the backend; says exactly why.
        BackendError: the backend refused the model.
        InputError: an option of `SessionOptions` with a value it cannot have.
    """
    _refuse_unknown_backend(backend)
    options = SessionOptions(threads=threads, spinning=spinning)
    model = read_model(Path(path))
    opened, name = _opened_backend(model, backend, options, allow_fallback=allow_fallback)
    return Session(model.contract, opened, name)


def _refuse_unknown_backend(backend: str | None) -> None:
    """Refuse a name that is no backend's before any file is read; raises BackendUnavailable."""
    if backend is not None and backend not in BACKEND_NAMES:
        raise BackendUnavailable(
            f"backend {backend!r}",
            got="an unknown name",
            expected=" | ".join(BACKEND_NAMES),
            remedy="choose one of these",
        )


def _opened_backend(
    model: ModelFile,
    backend: BackendName | None,
    options: SessionOptions,
    *,
    allow_fallback: bool,
) -> tuple[Backend, BackendName]:
    """A checked model on the backend that was named, or on the one that `load` says; raises as `load`."""
    name = backend or default_backend(model)
    native = CallGate(lambda: None)  # a thread that opens a model as the interpreter ends is waited for, too
    native.enter()
    try:
        return open_backend(name, model, options), name
    except BackendUnavailable as error:
        if not allow_fallback:
            raise
        opened = _on_cpu(name, model, options, error)
        warnings.warn(f"{model.path} runs on ort-cpu: {error}", RuntimeWarning, stacklevel=3)
        return opened, "ort-cpu"
    finally:
        native.leave()


def _on_cpu(name: BackendName, model: ModelFile, options: SessionOptions, error: BackendUnavailable) -> Backend:
    """What runs where `ort-cuda` cannot; `error`, which says why, for anything else that cannot."""
    if not isinstance(model, OnnxFile):
        raise BackendUnavailable(
            error.subject,
            got=error.got,
            expected=error.expected,
            remedy=f"{error.remedy}; a plan never falls back: load the .onnx it was built from to run on a CPU",
        ) from error
    if name != "ort-cuda":
        raise error
    return open_backend("ort-cpu", model, options)
