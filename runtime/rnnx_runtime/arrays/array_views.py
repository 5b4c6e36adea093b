"""Arrays of other libraries as NumPy arrays over the same memory, and a reason where there is none."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.errors import InputError

_HOST_DEVICES = (1, 3, 11)
_OTHER_DEVICES = {2: "CUDA", 8: "Metal", 10: "ROCm", 13: "CUDA managed memory"}
"""Where a tensor lies, by DLPack's numbers; CPU and page-locked memory can be read from the host.

https://dmlc.github.io/dlpack/latest/c_api.html#c.DLDeviceType
"""

_ARRAY_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__")


def array_from_view(value: object, subject: str, expected: str) -> NDArray[Any]:
    """The array that a value is or shows: through the buffer protocol, NumPy's own protocols or DLPack.

    Raises:
        InputError: it shows none, as a list; it lies on a device, carries gradients, or is masked.
    """
    # NumPy imports `np.ma` when it is first named, which costs a first step 8 ms; without it no array has a mask.
    if "numpy.ma" in sys.modules and isinstance(value, np.ma.MaskedArray):
        raise _no_view(value, " with a mask", subject, expected, "fill its gaps with .filled(value)")
    device = _device(value)
    if device:
        raise _no_view(value, f" on {device}", subject, expected, "copy it to host memory first")
    try:
        if _has_array_protocol(value):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
    except Exception as error:  # the protocols are other libraries' code, which may raise anything
        reason = " ".join(str(error).split())
        remedy = "give a plain array in host memory, without gradients"
        raise _no_view(value, f", which shows no array ({reason})", subject, expected, remedy) from error
    raise _no_view(value, "", subject, expected, "give a NumPy array, or a tensor that NumPy or DLPack can view")


def checked_view(value: Any, spec: TensorSpec, what: str = "input") -> NDArray[Any]:
    """The array that a value shows, of the dtype, rank and sizes of its spec, where a symbol is any size but 0."""
    array = array_from_view(value, f"{what} {spec.name!r}", f"{spec.dtype} {spec.shape}")
    if (
        array.dtype == spec.dtype
        and array.ndim == len(spec.dims)
        and all(size == d if isinstance(d, int) else size > 0 for size, d in zip(array.shape, spec.dims, strict=True))
    ):
        return array
    if array.dtype != spec.dtype:
        remedy = f"cast it with .astype('{spec.dtype}')"
    elif 0 in array.shape:
        remedy = "no dim may be empty"
    else:
        remedy = "reshape it to the model's contract (session.spec)"
    raise InputError(
        f"{what} {spec.name!r}",
        got=f"{array.dtype} {array.shape}",
        expected=f"{spec.dtype} {spec.shape}",
        remedy=remedy,
    )


def _device(value: object) -> str | None:
    """Where a tensor lies if that is not the host's memory; None for anything else."""
    try:
        kind = int(value.__dlpack_device__()[0])  # type: ignore[attr-defined]
    except Exception:  # no tensor, or one that will say in `__dlpack__` or `__array__` why it has no memory
        return None
    return None if kind in _HOST_DEVICES else _OTHER_DEVICES.get(kind, f"DLPack device {kind}")


def _has_array_protocol(value: object) -> bool:
    if any(hasattr(value, name) for name in _ARRAY_PROTOCOLS):
        return True
    try:
        memoryview(value).release()  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _no_view(value: object, what: str, subject: str, expected: str, remedy: str) -> InputError:
    return InputError(subject, got=f"{type(value).__name__}{what}", expected=expected, remedy=remedy)
