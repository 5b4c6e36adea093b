"""The members of a zip that every reader would read alike: nothing before, between or after them that tells otherwise.

Python's `zipfile` goes by the central directory, torch's reader by that and the local headers, and neither asks whether
they agree. A file is taken here only where they do (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT).
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")

_LONGEST_COMMENT = 2**16 - 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What torch's reader can unpack."""

_ENCRYPTED, _SIZES_BEHIND = 0x1, 0x8
_IN_EXTRA_FIELD = 2**32 - 1

_PARSED_ENTRY = 13
"""Times its size on disk that an entry of the directory takes as an object of `zipfile`, for short names."""

_PIECE = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """An entry of the directory, and where in the file its bytes begin."""

    info: zipfile.ZipInfo
    place: int

    @property
    def is_stored(self) -> bool:
        """Whether its bytes lie in the file as they are."""
        return self.info.compress_type == zipfile.ZIP_STORED


class ZipError(ValueError):
    """The file is no whole zip, or two readers could see two different files in it."""


def unpacked_bytes(file_size: int) -> int:
    """What all members of a file of this size may unpack to: twice as much, and 8 MiB for small ones."""
    return 2 * file_size + 2**23


def object_bytes(file_size: int) -> int:
    """The memory that the objects which a file of this size describes may take: twice as much, and 32 MiB."""
    return 2 * file_size + 2**25


def names_of(path: Path) -> list[str]:
    """The names in a zip, none where it is none; a damaged zip is left to whoever reads it.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return [info.filename for info in _directory(file)]
    except ZipError:
        return []


def members_of(file: IO[bytes]) -> dict[str, Member]:
    """The members by name, in the order of the directory, after every check but that of their bytes.

    Raises:
        ZipError: damaged; one name given twice; parts that overlap; or more to unpack than the file's size warrants.
        OSError: the file cannot be read.
    """
    infos = _directory(file)
    _check_names(infos)
    places = _checked_places(file, infos)
    size = file.seek(0, os.SEEK_END)
    if sum(info.file_size for info in infos) > unpacked_bytes(size):
        raise ZipError(f"members that unpack to far more than the file's {size:,} bytes")
    return {info.filename: Member(info=info, place=places[info.filename]) for info in infos}


def check_bytes(file: IO[bytes], members: Iterable[Member]) -> None:
    """Unpack every member, keeping none of it, and compare its CRC.

    Raises:
        ZipError: a member is damaged.
        OSError: the file cannot be read.
    """
    members = list(members)
    if all(member.info.CRC == 0 and member.is_stored for member in members):
        return  # torch writes no CRC after `torch.serialization.set_crc32_options(False)`
    for member in members:
        crc = 0
        for piece in _pieces(file, member):
            crc = zlib.crc32(piece, crc)
        if crc != member.info.CRC:
            raise ZipError(f"the member {member.info.filename!r} damaged: its CRC is another")


def bytes_of(file: IO[bytes], member: Member) -> bytes:
    """A member's bytes, whose CRC is not looked at.

    Raises:
        ZipError: it cannot be unpacked.
        OSError: the file cannot be read.
    """
    return b"".join(_pieces(file, member))


def _pieces(file: IO[bytes], member: Member) -> Iterator[bytes]:
    """A member's bytes as they are unpacked, of which there must be as many as the directory says."""
    file.seek(member.place)
    packed, left = member.info.compress_size, member.info.file_size
    inflate = None if member.is_stored else zlib.decompressobj(-zlib.MAX_WBITS)
    while left:
        if inflate is None:
            piece = file.read(min(_PIECE, left))
        else:
            data = inflate.unconsumed_tail or file.read(min(_PIECE, packed))
            packed -= 0 if inflate.unconsumed_tail else len(data)
            piece = _inflated(inflate, data, min(_PIECE, left), member)
        if not piece:
            raise ZipError(f"the member {member.info.filename!r} shorter than it says")
        left -= len(piece)
        yield piece


def _inflated(inflate: Any, data: bytes, most: int, member: Member) -> bytes:
    try:
        piece: bytes = inflate.decompress(data, most)
    except zlib.error as error:
        raise ZipError(f"the member {member.info.filename!r} damaged ({error})") from None
    return piece


def _directory(file: IO[bytes]) -> list[zipfile.ZipInfo]:
    start, size, count = _directory_place(file)
    whole = file.seek(0, os.SEEK_END)
    if size * _PARSED_ENTRY > object_bytes(whole) + whole:
        raise ZipError(f"a directory of {size:,} bytes in a file of {whole:,}")
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except OSError:
        raise
    except Exception as error:  # zipfile lets through whatever a damaged byte leads to
        raise ZipError(str(error) or type(error).__name__) from None
    if len(infos) != count or archive.start_dir != start:
        raise ZipError("a directory that disagrees with the end of the file")
    return infos


def _directory_place(file: IO[bytes]) -> tuple[int, int, int]:
    """Where the central directory starts, its bytes and its entries; it must end where the records about it start."""
    whole = file.seek(0, os.SEEK_END)
    tail_start = file.seek(max(0, whole - _END.size - _LONGEST_COMMENT))
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        raise ZipError("no end of a zip")
    _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(tail, place)
    if place + _END.size + comment != len(tail):
        raise ZipError("bytes after the end of the zip")
    end = tail_start + place
    wide = _wide_end(file, end)
    if wide is not None:
        end, *found = wide
        for narrow, value, full in zip((count, size, start), found, (2**16 - 1, 2**32 - 1, 2**32 - 1), strict=True):
            if narrow not in (value, full):
                raise ZipError("two ends that disagree")
        count, size, start = found
    elif disk or first_disk or here != count:
        raise ZipError("a zip of several files")
    if start + size != end:
        raise ZipError("a directory that is not where the end of the file says")
    return start, size, count


def _wide_end(file: IO[bytes], end: int) -> tuple[int, int, int, int] | None:
    """The place of the zip64 record before the end at `end`, and its entries, bytes and start; None without one."""
    place = end - _LOCATOR.size - _END64.size
    if end < _LOCATOR.size:
        return None
    file.seek(end - _LOCATOR.size)
    mark, disk, said, disks = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if mark != b"PK\x06\x07":
        return None
    if said != place or place < 0 or disk or disks > 1:
        raise ZipError("a zip64 locator that leads elsewhere")
    file.seek(place)
    mark, length, _, _, disk, first_disk, here, count, size, start = _END64.unpack(file.read(_END64.size))
    if mark != b"PK\x06\x06" or length != _END64.size - 12 or disk or first_disk or here != count:
        raise ZipError("a zip64 end that is damaged")
    return place, count, size, start


def _check_names(infos: Sequence[zipfile.ZipInfo]) -> None:
    # torch looks names up whatever the case of their letters
    if len({info.filename.lower() for info in infos}) < len(infos):
        raise ZipError("two members of one name, of which another reader may take the other")
    for info in infos:
        if info.orig_filename != info.filename:
            raise ZipError(f"a member of the name {info.orig_filename!r}")


def _checked_places(file: IO[bytes], infos: Sequence[zipfile.ZipInfo]) -> dict[str, int]:
    """Where the bytes of every member begin: behind the one before, the first one's header at the file's start."""
    start, _, _ = _directory_place(file)
    places, end = {}, 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end or (end == 0 and info.header_offset != 0):
            raise ZipError(f"the member {info.filename!r} where another one or something else is")
        places[info.filename] = _place_of(file, info)
        end = places[info.filename] + info.compress_size
        if end > start:
            raise ZipError(f"the member {info.filename!r} that reaches into the directory")
    return places


def _place_of(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its own header, which must agree with the directory."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        raise ZipError(f"the member {info.filename!r} behind the end")
    mark, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
    name = file.read(name_length)
    behind = (0,) if flags & _SIZES_BEHIND else ()
    sizes = ((crc, info.CRC), (packed, info.compress_size), (size, info.file_size))
    alike = mark == b"PK\x03\x04" and flags == info.flag_bits and method == info.compress_type and name == _name(info)
    if not alike or any(own not in (listed, _IN_EXTRA_FIELD, *behind) for own, listed in sizes):
        raise ZipError(f"the member {info.filename!r} whose header disagrees with the directory")
    if flags & _ENCRYPTED or method not in _METHODS:
        raise ZipError(f"the member {info.filename!r} encrypted, or compressed by another method than deflate")
    if method == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise ZipError(f"the member {info.filename!r} of two sizes")
    return int(info.header_offset + _LOCAL.size + name_length + extra_length)


def _name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
