"""Numbers out of what strangers send: JSON, and little-endian float32."""

import json
from types import NoneType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime import InputError

Array = NDArray[np.float32]

_README = "see examples/service/README.md"


def json_from_text(text: str) -> dict[str, Any]:
    """The JSON object in a text.

    Raises:
        InputError: it is none.
    """
    value = value_from_json(text)
    if not isinstance(value, dict):
        raise _refusal("JSON", f"a {type(value).__name__}", "an object", _README)
    return value


def value_from_json(text: str) -> Any:
    """The JSON value in a text; no object may name a key twice.

    Raises:
        InputError: it is none.
    """
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _refusal("JSON", f"none ({str(error)[:100]})", "an object", _README) from None


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
    if not _kinds(value) <= {int, float, NoneType}:  # NumPy takes texts and truth values for numbers
        raise _refusal(subject, "a text, true or false", "nested lists of numbers", "send numbers")
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


def frames_from_json(value: object, width: int) -> Array:
    """Frames `(T, I)` out of nested lists.

    Raises:
        InputError: lists of other shapes, or what `floats_from_json` refuses.
    """
    frames = floats_from_json(value, "'frames'")
    if frames.ndim != 2 or frames.shape[1] != width:
        expected = f"a list of frames, each a list of {width} numbers"
        raise _refusal("'frames'", f"numbers of shape {frames.shape}", expected, _README)
    return frames


def bytes_from_floats(array: NDArray[Any]) -> bytes:
    """An array's numbers as little-endian float32."""
    return np.ascontiguousarray(array, "<f4").tobytes()


def _kinds(value: object) -> set[type]:
    """The types inside nested lists, of which NumPy has seen that they are few deep."""
    return set().union(*map(_kinds, value)) if isinstance(value, list) else {type(value)}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(value := dict(pairs)) < len(pairs):
        raise ValueError("a key twice in one object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)


def _refusal(subject: str, got: str, expected: str, remedy: str) -> InputError:
    return InputError(subject, got=got, expected=expected, remedy=remedy)
