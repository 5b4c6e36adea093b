"""Numbers out of what strangers send: JSON, and little-endian float32."""

import json
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime import InputError

Array = NDArray[np.float32]

_README = "see examples/service/README.md"


def json_from_text(text: str | bytes) -> dict[str, Any]:
    """The JSON object in a text.

    Raises:
        InputError: it is none.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _refusal("JSON", f"none ({str(error)[:100]})", "an object", _README) from None
    if not isinstance(value, dict):
        raise _refusal("JSON", f"a {type(value).__name__}", "an object", _README)
    return value


def floats_from_json(value: object, subject: str) -> Array:
    """Nested lists of numbers as an array.

    Raises:
        InputError: ragged lists, or values that are no finite float32.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(value, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise _refusal(subject, str(error)[:100], "nested lists of numbers", "send lists of equal lengths") from None
    if not np.isfinite(array).all():
        raise _refusal(subject, "null, or a number beyond float32", "finite numbers", "mend the source")
    return array


def frames_from_bytes(data: bytes, width: int, subject: str) -> Array:
    """Frames `(T, I)` out of their bytes.

    Raises:
        InputError: not a whole number of frames, or none.
    """
    if not data or len(data) % (4 * width):
        frames = f"a multiple of {4 * width} bytes (frames of {width} little-endian float32)"
        raise _refusal(subject, f"{len(data)} bytes", frames, "send whole frames")
    return np.frombuffer(data, "<f4").reshape(-1, width).astype(np.float32, copy=False)


def bytes_from_floats(array: NDArray[Any]) -> bytes:
    """An array's numbers as little-endian float32."""
    return np.ascontiguousarray(array, "<f4").tobytes()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON")


def _refusal(subject: str, got: str, expected: str, remedy: str) -> InputError:
    return InputError(subject, got=got, expected=expected, remedy=remedy)
