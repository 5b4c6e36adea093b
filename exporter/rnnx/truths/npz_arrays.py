"""The arrays of an .npz file as `np.savez` writes it, taking no more memory than the file's own size.

`np.load` allocates whatever size a damaged or forged header claims, and unpacks whatever is compressed.
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import io
import math
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray


def arrays_from_npz(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays by name, none of them of Python objects.

    Raises:
        ValueError: an array is compressed, given twice, of objects, or not of the size that its header says.
        Exception: whatever else `zipfile` lets a damaged byte lead to.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("a compressed array")
        if sum(member.file_size for member in members) > len(data):
            raise ValueError("arrays larger than the file")
        arrays = {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    if len(arrays) < len(members):
        raise ValueError("an array given twice")
    return arrays


def _array(content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another format version")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    if dtype.itemsize * math.prod(shape) != len(content) - stream.tell():
        raise ValueError("an array not of the size that its header says")
    values = np.frombuffer(content, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if by_columns else "C").copy()
