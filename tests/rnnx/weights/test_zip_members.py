import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnx.weights.zip_members import ZipError, bytes_of, check_bytes, members_of, names_of

CONTENT = {"a/data.pkl": b"pickle" * 9, "a/data/0": bytes(range(64))}


def zipped(method: int = zipfile.ZIP_STORED, names: tuple[str, ...] = tuple(CONTENT)) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in zip(names, CONTENT.values(), strict=True):
            archive.writestr(name, content)
    return out.getvalue()


def contents(data: bytes) -> dict[str, bytes]:
    file = io.BytesIO(data)
    members = members_of(file)
    check_bytes(file, members.values())
    return {name: bytes_of(file, member) for name, member in members.items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_members_are_read_as_they_were_written(method: int) -> None:
    assert contents(zipped(method)) == CONTENT


def changed(data: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    place = data.rfind(mark) + offset
    return data[:place] + value + data[place + len(value) :]


def spanning_disks(data: bytes) -> bytes:
    end = data.rfind(b"PK\x05\x06")
    return data[:end] + bytes(56) + struct.pack("<4sIQI", b"PK\x06\x07", 5, end, 9) + data[end:]


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        pytest.param(lambda data: data[:-1], "no end of a zip", id="cut"),
        pytest.param(lambda data: data + b"junk", "bytes after the end", id="behind"),
        pytest.param(lambda data: b"junk" + data, "not where the end of the file says", id="before"),
        pytest.param(spanning_disks, "zip64 locator", id="disks"),
        pytest.param(lambda data: data.replace(bytes(range(64)), bytes(64)), "its CRC is another", id="content"),
        pytest.param(lambda data: changed(data, b"PK\x03\x04", 30, b"A"), "disagrees with the directory", id="name"),
        pytest.param(lambda data: changed(data, b"PK\x03\x04", 18, b"\x08"), "disagrees with the directory", id="size"),
        pytest.param(lambda data: changed(data, b"PK\x01\x02", 42, bytes(4)), "where another one", id="overlap"),
        pytest.param(lambda data: changed(data, b"PK\x01\x02", 20, b"\xff"), "disagrees", id="reaches-out"),
        pytest.param(lambda data: changed(data, b"PK\x05\x06", 10, b"\x07\x00"), "several files", id="count"),
        pytest.param(lambda _: zipped(zipfile.ZIP_BZIP2), "another method than deflate", id="bzip2"),
        pytest.param(lambda _: zipped(names=("a/data/0", "A/DATA/0")), "two members of one name", id="case"),
        pytest.param(lambda _: b"", "no end of a zip", id="empty"),
    ],
)
def test_what_two_readers_could_read_otherwise_is_refused(forge: Callable[[bytes], bytes], reason: str) -> None:
    with pytest.raises(ZipError, match=reason):
        contents(forge(zipped()))


def test_crcs_that_are_all_zero_were_never_taken(tmp_path: Path) -> None:
    data = zipped()
    for name, content in CONTENT.items():
        crc = struct.pack("<I", zlib.crc32(content))
        assert data.count(crc) == 2, name
        data = data.replace(crc, bytes(4))
    assert contents(data) == CONTENT


def test_members_that_unpack_to_far_more_than_the_file_are_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10_000_000))
    with pytest.raises(ZipError, match="unpack to far more than the file's"):
        members_of(out)


def test_a_damaged_zip_has_no_names(tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(zipped())
    (tmp_path / "damaged").write_bytes(spanning_disks(zipped()))
    assert names_of(tmp_path / "whole") == list(CONTENT)
    assert names_of(tmp_path / "damaged") == []
