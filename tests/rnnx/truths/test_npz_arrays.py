import io
import tracemalloc
import zipfile
from collections.abc import Callable
from tokenize import TokenError
from typing import Any

import numpy as np
import pytest

from rnnx.truths.npz_arrays import arrays_from_npz


def saved(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def zipped(content: bytes, *, times: int = 1, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for number in range(times):
            archive.writestr(f"{number}.npy", content)
    return buffer.getvalue()


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6.0).reshape(2, 3), id="rows"),
        pytest.param(np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), id="columns"),
        pytest.param(np.array(1.5), id="scalar"),
        pytest.param(np.array("text"), id="text"),
        pytest.param(np.zeros((0, 3), np.int32), id="empty"),
    ],
)
def test_what_numpy_saved_is_read(array: Any) -> None:
    (read,) = arrays_from_npz(saved(array=array)).values()
    np.testing.assert_array_equal(read, array)
    assert (read.dtype, read.shape, read.flags.writeable) == (array.dtype, array.shape, True)


def with_a_name_twice() -> bytes:
    return saved(array=np.zeros(3), brray=np.ones(3)).replace(b"brray", b"array")


def with_one_content_under_many_names() -> bytes:
    data = zipped(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000,)}", bytes(8000)))
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry, last = data[start:end], bytearray(data[end:])
    last[8:12] = (500).to_bytes(2, "little") * 2
    last[12:16] = (500 * len(entry)).to_bytes(4, "little")
    return data[:start] + entry * 500 + bytes(last)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: zipped(bytes(10**8), compression=zipfile.ZIP_DEFLATED), "compressed", id="zip-bomb"),
        pytest.param(with_one_content_under_many_names, "larger than the file", id="one-content-many-names"),
        pytest.param(with_a_name_twice, "given twice", id="name-twice"),
        pytest.param(
            lambda: zipped(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,)}")),
            "not of the size",
            id="shape-huge",
        ),
        pytest.param(
            lambda: zipped(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", bytes(8))),
            "not of the size",
            id="shape-negative",
        ),
        pytest.param(
            lambda: zipped(npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8))),
            "an array of Python objects",
            id="objects",
        ),
        pytest.param(lambda: zipped(b"\x93NUMPY\x03\x00" + bytes(9)), "another format version", id="version"),
        pytest.param(lambda: zipped(npy("{" * 9000)), "EOF in multi-line|too many nested", id="header-deep"),
        pytest.param(lambda: zipped(b"text"), "magic", id="no-array"),
    ],
)
def test_what_is_damaged_or_forged_is_refused_within_the_files_own_size(
    make: Callable[[], bytes], message: str
) -> None:
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, TokenError), match=message):
            arrays_from_npz(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 2**22
    finally:
        tracemalloc.stop()
