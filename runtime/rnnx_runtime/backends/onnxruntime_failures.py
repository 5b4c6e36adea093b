"""ONNX Runtime's failures as errors of this package."""

from rnnx_runtime.errors import BackendError


class _FailuresNamed:
    """Written out, for from Python 3.12 a generator as context keeps a failed run's frames, and its device memory."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception):  # ONNX Runtime's own errors share no base but Exception
            raise BackendError(
                "ONNX Runtime run", got=one_line(error), expected="a result", remedy=_remedy(error)
            ) from error


def failures_named() -> _FailuresNamed:
    """Raise BackendError where ONNX Runtime raises in a run."""
    return _FailuresNamed()


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def _remedy(error: Exception) -> str:
    if "indices element out of data bounds" in str(error):  # of Gather, an embedding: no contract says how many rows
        return "look for a token or index in the inputs that the model's embedding or table does not have"
    return "the inputs passed rnnx's checks: look for lack of memory, else report this message"
