"""Opening a whole model as a session."""

import os
from pathlib import Path

from rnnx_runtime.backends import BackendName
from rnnx_runtime.loading import opened_backend, refuse_unknown_backend
from rnnx_runtime.model_file import read_whole_model
from rnnx_runtime.model_session import ModelSession
from rnnx_runtime.session_options import GraphOptimization, SessionOptions


def load_model(
    path: str | os.PathLike[str],
    backend: BackendName | None = None,
    *,
    allow_fallback: bool = False,
    threads: int = 1,
    spinning: bool = True,
    arena: bool = True,
    graph_optimization: GraphOptimization = "all",
) -> ModelSession:
    """Open an .onnx or a .plan of a whole model, a network around recurrent layers, that rnnx wrote.

    Where it runs and what the options mean is as `rnnx_runtime.load` says.

    Raises:
        FileDamagedError: missing, truncated, foreign, or changed since it was written.
        ContractError: no contract, a single layer's, one of another version, or one that does not match the file.
        BackendUnavailable: this host cannot run the backend; says exactly why.
        BackendError: the backend refused the model.
        InputError: an option of `SessionOptions` with a value it cannot have.
    """
    refuse_unknown_backend(backend)
    options = SessionOptions(threads=threads, spinning=spinning, arena=arena, graph_optimization=graph_optimization)
    model = read_whole_model(Path(path))
    opened, name = opened_backend(model, backend, options, allow_fallback=allow_fallback, stacklevel=3)
    return ModelSession(model.contract, opened, name)
