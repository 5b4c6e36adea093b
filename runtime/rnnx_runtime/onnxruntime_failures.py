"""ONNX Runtime's failures as errors of this package."""

import contextlib
from collections.abc import Iterator

from rnnx_runtime.errors import BackendError


@contextlib.contextmanager
def failures_named() -> Iterator[None]:
    """Raise BackendError where ONNX Runtime raises in a run."""
    try:
        yield
    except Exception as error:  # ONNX Runtime's own errors share no base but Exception
        raise BackendError(
            "ONNX Runtime run", got=one_line(error), expected="a result", remedy=_remedy(error)
        ) from error


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def _remedy(error: Exception) -> str:
    if "indices element out of data bounds" in str(error):  # of Gather, an embedding: no contract says how many rows
        return "look for a token or index in the inputs that the model's embedding or table does not have"
    return "the inputs passed rnnx's checks: look for lack of memory, else report this message"
