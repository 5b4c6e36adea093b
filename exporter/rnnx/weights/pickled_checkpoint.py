"""Looking through a file of `torch.save` before torch reads it: its zip or run of pickles, its claims, its CRCs."""

import os
import struct
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import IO, Any

from rnnx.weights.checkpoint_pickle import CheckpointJudge
from rnnx.weights.inert_pickle import Buffer, inert_prefix, inert_value
from rnnx.weights.pickle_objects import UnsafePickleError
from rnnx.weights.pickled_storages import Storage
from rnnx.weights.zip_members import Member, ZipError, bytes_of, check_bytes, members_of, object_bytes

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
"""What begins a file from before torch 1.6 (torch.serialization.MAGIC_NUMBER, PROTOCOL_VERSION)."""

_TAR_HEADER = 512

_NOTES = ("byteorder", "version", ".data/version", ".format_version", ".storage_alignment", ".data/serialization_id")
_LONGEST_NOTE = 1024

_ALIGNMENT = 64
"""What torch aligns a storage to; the vector instructions that read a misaligned one can end the process."""


class UnsoundCheckpointError(ValueError):
    """The file is damaged, or claims what it does not hold."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What is to be known before torch reads a file.

    `is_mappable`: it may be mapped into memory, where what is packed or lies askew is not readable. `foreign` are the
    names that inert objects have to stand for, `mappings` those of them that take items.
    """

    is_mappable: bool
    foreign: frozenset[str]
    mappings: frozenset[str]


def check_zip(file: IO[bytes], trusted: Collection[str]) -> Examined:
    """Look through a zip.

    Raises:
        UnsoundCheckpointError: the zip is damaged, or another reader could read something else.
        PickleDataError: the pickle in it is one that torch would not have written.
        OSError: the file cannot be read.
    """
    try:
        members = members_of(file)
        check_bytes(file, members.values())
        root = next(iter(members), "").partition("/")[0]
        if f"{root}/data.pkl" not in members:
            raise UnsoundCheckpointError(f"no {root}/data.pkl in the zip")
        _check_notes(root, members)
        pickled = bytes_of(file, members[f"{root}/data.pkl"])
    except ZipError as error:
        raise UnsoundCheckpointError(str(error)) from None
    lead = f"{root}/data/"
    storages = {name.removeprefix(lead): own for name, own in members.items() if name.startswith(lead)}
    most = object_bytes(file.seek(0, os.SEEK_END))
    sizes = {key: own.info.file_size for key, own in storages.items()}
    judge = CheckpointJudge(sizes=sizes, most_bytes=most, trusted=trusted)
    inert_value(pickled, most_bytes=most, judge=judge)
    is_mappable = all(own.is_stored and own.place % _ALIGNMENT == 0 for own in storages.values())
    return _examined(judge, is_mappable=is_mappable)


def _examined(judge: CheckpointJudge, *, is_mappable: bool) -> Examined:
    foreign, mappings = frozenset(judge.foreign), frozenset(judge.mappings)
    return Examined(is_mappable=is_mappable, foreign=foreign, mappings=mappings)


def _check_notes(root: str, members: Mapping[str, Member]) -> None:
    """Refuse what torch reads as a number or a word, and repeats in its errors, where it is as long as a book."""
    for name in _NOTES:
        note = members.get(f"{root}/{name}")
        if note is not None and note.info.file_size > _LONGEST_NOTE:
            raise UnsoundCheckpointError(f"{root}/{name} of {note.info.file_size:,} bytes in the zip")


def check_legacy(data: Buffer, trusted: Collection[str]) -> Examined:
    """Look through a file from before torch 1.6: a run of pickles, and the storages behind them.

    Raises:
        UnsoundCheckpointError: the storages are not those that the pickle names.
        PickleDataError: a pickle is damaged, or one that torch would not have written.
    """
    if _is_tar(data[:_TAR_HEADER]):
        raise UnsoundCheckpointError("a tar archive of the first versions of torch")
    most = object_bytes(len(data))
    plain = CheckpointJudge(sizes={}, most_bytes=0)
    judge = CheckpointJudge(sizes=None, most_bytes=len(data), trusted=trusted)
    place, found = 0, []
    for number, own in enumerate((plain, plain, plain, judge, plain)):
        value, place = inert_prefix(data, place, most_bytes=most, judge=own)
        found.append(value)
        if number < 2 and value != (_MAGIC, _PROTOCOL)[number]:
            raise UnsafePickleError("no magic number of torch's")
    _check_storages(data, place, found[-1], judge.storages)
    return _examined(judge, is_mappable=False)


def _check_storages(data: Buffer, place: int, keys: Any, storages: Mapping[str, Storage]) -> None:
    """The storages follow in the order of `keys`, each behind the number of its elements."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise UnsoundCheckpointError("storages without keys")
    if len(keys) != len(storages) or set(keys) != set(storages):
        raise UnsoundCheckpointError("other storages than the pickle names")
    for key in keys:
        length = data[place : place + 8]
        place += 8 + storages[key].nbytes
        if len(length) < 8 or place > len(data):
            raise UnsoundCheckpointError(f"the storage {key!r} cut off")
        if struct.unpack("<q", length)[0] != storages[key].elements:
            raise UnsoundCheckpointError(f"the storage {key!r} of another length than the pickle says")


def _is_tar(start: bytes) -> bool:
    """Whether torch would take the file for a tar archive, in which a few bytes may claim any amount of memory."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
