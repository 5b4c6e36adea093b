"""The values of a small tensor that lie in another file, read if they are as many as its shape says."""

import warnings
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

from onnx import TensorProto, checker, external_data_helper, helper, numpy_helper


def with_outside_values(tensor: TensorProto, folder: Path) -> TensorProto:
    """A copy of an external tensor that holds its values.

    Raises:
        OSError: the file is not there.
        ValueError: it has another number of bytes for the tensor than its shape and type take.
        KeyError: the tensor's type is none of ONNX.
        onnx.checker.ValidationError: it lies outside the folder, or is no regular file.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    wanted = prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    if _extent(entries, folder) != wanted:  # before it is read: a file can have any size
        raise ValueError(f"other than the {wanted} bytes of {tensor.name!r}")
    own = TensorProto()
    own.CopyFrom(tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that ONNX does not know
        external_data_helper.load_external_data_for_tensor(own, str(folder))
    own.data_location = TensorProto.DEFAULT
    return own


def _extent(entries: dict[str, str], folder: Path) -> int:
    if entries.get("length"):
        return int(entries["length"])
    return (folder / entries.get("location", "")).stat().st_size - int(entries.get("offset") or 0)


def values_of(tensor: TensorProto, folder: Path | None) -> Any:
    """A constant's values; None where they are absent, outside the folder, or not as many as its shape says."""
    with suppress(OSError, ValueError, KeyError, TypeError, checker.ValidationError):
        if tensor.data_location == TensorProto.EXTERNAL:
            if folder is None:
                return None
            tensor = with_outside_values(tensor, folder)
        return numpy_helper.to_array(tensor)
    return None
