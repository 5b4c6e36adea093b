"""What the code of a model raises, told from what rnnx itself does: the one is a message, the other a bug."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rnnx_runtime
from rnnx.errors import FactoryError
from rnnx_runtime.errors import RnnxError
from rnnx_runtime.printable import shown

_MOST_REASON = 300
"""Characters of an exception's own words."""

_OWN = tuple(f"{Path(folder)}{os.sep}" for folder in (Path(__file__).parents[1], rnnx_runtime.__path__[0]))

_ENGINES = tuple(
    f"site-packages{os.sep}{package}"
    for package in ("onnx", "onnxscript", "onnx_ir", "spox", "onnxruntime", "numpy", "safetensors", "google")
)
"""Packages that rnnx calls itself: an error in one is no model's, unless the model called it."""


@contextmanager
def model_code(source: str) -> Iterator[None]:
    """Turn what the model's code raises inside the block into an error that says where; all else passes.

    An interrupt passes too: whoever pressed Ctrl-C cannot be told from code that raises the same.

    Raises:
        FactoryError: the model's code raised, or ended the interpreter.
    """
    try:
        yield
    except (RnnxError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if not is_of_the_model(error):
            raise
        remedy = "mend this line; the same call in Python shows the whole traceback"
        raise raised(source, "the model's own code", error, remedy) from None


def raised(source: str, doing: str, error: BaseException, remedy: str) -> FactoryError:
    """The error for what `source` raised: its type, the first line of its words, and the model's line."""
    from rnnx.modules.source_lines import model_line_of

    in_its_text = isinstance(error, SyntaxError) and error.filename
    line = f"{error.filename}, line {error.lineno}" if in_its_text else model_line_of(error)  # type: ignore[attr-defined]
    return FactoryError(
        f"factory {source}",
        got=f"{reason_of(error)} from {doing} ({line})",
        expected="a factory that returns a model",
        remedy=remedy,
    )


def reason_of(error: BaseException) -> str:
    """An exception's type and the first line of its words, which its own code may be unable to give."""
    try:
        words = str(error)
    except Exception:  # of a class whose __str__ is as broken as what raised it
        words = ""
    return f"{type(error).__name__}: {shown((words.strip().splitlines() or ['no message'])[0], _MOST_REASON)}"


def is_of_the_model(error: BaseException) -> bool:
    """Whether an error came out of a model's code that rnnx called, and not out of rnnx or what it is built on."""
    from rnnx.modules.source_lines import last_own_frame

    frames = traceback.extract_tb(error.__traceback__)
    last = max((place for place, frame in enumerate(frames) if frame.filename.startswith(_OWN)), default=-1)
    return last_own_frame([frame for frame in frames[last + 1 :] if not _is_an_engine(frame.filename)]) >= 0


def _is_an_engine(filename: str) -> bool:
    return any(f"{os.sep}{folder}{os.sep}" in filename for folder in _ENGINES)
