"""The state of a TorchScript archive, read without running the script in it.

`torch.jit.save` writes a zip: `<root>/data.pkl` is a pickle of the module tree, `<root>/data/<key>` are the storages of
its tensors (torch/csrc/jit/docs/serialization.md).
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnx.archive_tensors import Archive, ArchiveCheckpoint, ArchiveTensor
from rnnx.inert_pickle import Made, Named, Outside, PickleDataError, inert_value

_REBUILD = "torch._utils._rebuild_tensor_v2"

_STORAGES = {
    "torch.BFloat16Storage": "bfloat16",
    "torch.HalfStorage": "float16",
    "torch.FloatStorage": "float32",
    "torch.DoubleStorage": "float64",
    "torch.BoolStorage": "bool",
    "torch.ByteStorage": "uint8",
    "torch.CharStorage": "int8",
    "torch.ShortStorage": "int16",
    "torch.IntStorage": "int32",
    "torch.LongStorage": "int64",
    "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128",
}

_MOST_NODES = 1_000_000
"""Attributes of a module tree; a few bytes can describe a tree that shares its branches without end."""

_LONGEST_KEY = 4096
"""Characters of a dotted path; a long name that a file has once can be on every level of a deep tree."""


def is_torchscript(path: Path) -> bool:
    """Whether a file is a zip with TorchScript's constants in it."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False  # damaged, which torch says better


def open_torchscript(path: Path) -> ArchiveCheckpoint:
    """The tensors of a scripted or traced module under the keys of its state dict, plain tensor attributes included.

    Raises:
        CheckpointError: damaged, or frozen, so that its weights have no names any more.
    """
    archive = Archive(path, expected="a whole file written by torch.jit.save")
    try:
        tree = inert_value(archive.read(f"{archive.root}/data.pkl"))
    except PickleDataError as error:
        raise archive.damaged(f"a module tree that cannot be read ({error})") from None
    tensors: dict[str, ArchiveTensor] = {}
    try:
        for count, (key, tensor) in enumerate(_walk(tree, "", archive)):
            if count == _MOST_NODES:
                raise archive.damaged(f"a module tree of more than {_MOST_NODES:,} attributes")
            if tensor is not None:
                tensors[key] = tensor
    except RecursionError:
        raise archive.damaged("modules nested without end") from None
    if not tensors and any(name.startswith(f"{archive.root}/constants/") for name in archive.entries):
        raise archive.damaged(
            "a frozen TorchScript module, whose weights have no names",
            "save the module before torch.jit.freeze, or its state dict",
        )
    return ArchiveCheckpoint(archive, tensors)


def _walk(value: Any, path: str, archive: Archive) -> Iterator[tuple[str, ArchiveTensor | None]]:
    """Every attribute below a module, in order; None for one that is no tensor."""
    state = value.state if isinstance(value, Made) and _name(value.maker).startswith("__torch__.") else None
    for name, inner in state.items() if isinstance(state, dict) else ():
        if not isinstance(name, str) or len(path) + len(name) >= _LONGEST_KEY:
            raise archive.damaged("a module with an attribute that has no name, or one without end")
        key = f"{path}.{name}" if path else name
        if isinstance(inner, Made) and _name(inner.maker) == _REBUILD:
            yield key, _tensor(key, inner.arguments, archive)
        else:
            yield key, None
            yield from _walk(inner, key, archive)


def _tensor(key: str, arguments: Any, archive: Archive) -> ArchiveTensor:
    """A tensor from the arguments of `_rebuild_tensor_v2`: storage, offset, size, stride and others."""
    match arguments:
        case (
            Outside(reference=("storage", Named(name=kind), str(place), *_)),
            offset,
            tuple(shape),
            tuple(strides),
            *_,
        ):
            if kind in _STORAGES:
                entry, dtype = f"{archive.root}/data/{place}", _STORAGES[kind]
                return ArchiveTensor(entry=entry, dtype=dtype, shape=shape, strides=strides, offset=offset)
            raise archive.damaged(f"the tensor {key!r} in a {kind}", "save it with one of torch's plain dtypes")
    raise archive.damaged(f"the tensor {key!r} described in an unknown way")


def _name(maker: Any) -> str:
    return maker.name if isinstance(maker, Named) else ""
