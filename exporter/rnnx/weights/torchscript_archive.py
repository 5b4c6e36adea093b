"""The state of a TorchScript archive, read without running the script in it.

`torch.jit.save` writes a zip: `<root>/data.pkl` is a pickle of the module tree, `<root>/data/<key>` are the storages of
its tensors (torch/csrc/jit/docs/serialization.md).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnx.weights.archive_tensors import Archive, ArchiveCheckpoint, ArchiveTensor
from rnnx.weights.inert_pickle import inert_value
from rnnx.weights.pickle_objects import Made, Named, Outside, PickleDataError
from rnnx.weights.zip_members import names_of

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

_DEEPEST = 500
_LONGEST_KEY = 4096
"""Characters of a dotted path; a long name that a file has once can be on every level of a deep tree."""


def is_torchscript(path: Path) -> bool:
    """Whether a file is a zip with TorchScript's constants in it."""
    return any(name.endswith("/constants.pkl") for name in names_of(path))


def open_torchscript(path: Path) -> ArchiveCheckpoint:
    """The tensors of a scripted or traced module under the keys of its state dict, plain tensor attributes included.

    Raises:
        CheckpointError: damaged, or frozen, so that its weights have no names any more.
    """
    archive = Archive(path, expected="a whole file written by torch.jit.save")
    try:
        tree = inert_value(archive.read(f"{archive.root}/data.pkl"), most_bytes=archive.most_bytes)
    except PickleDataError as error:
        raise archive.damaged(f"a module tree that cannot be read ({error})") from None
    tensors: dict[str, ArchiveTensor] = {}
    characters = 0
    for count, (key, tensor) in enumerate(_walk(tree, archive)):
        if count == _MOST_NODES:
            raise archive.damaged(f"a module tree of more than {_MOST_NODES:,} attributes")
        if tensor is not None:
            tensors[key] = tensor
            characters += len(key)
        if characters > archive.most_bytes:
            raise archive.damaged("keys far longer than the file")
    if not tensors and any(name.startswith(f"{archive.root}/constants/") for name in archive.entries):
        raise archive.damaged(
            "a frozen TorchScript module, whose weights have no names",
            "save the module before torch.jit.freeze, or its state dict",
        )
    return ArchiveCheckpoint(archive, tensors)


def _walk(tree: Any, archive: Archive) -> Iterator[tuple[str, ArchiveTensor | None]]:
    """Every attribute below a module, in order; None for one that is no tensor."""
    # on a stack of its own: a call for every level would cost what the levels cost together
    waiting = [_attributes(tree, "", archive)]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        key, inner = found
        if isinstance(inner, Made) and _name(inner.maker) == _REBUILD:
            yield key, _tensor(key, inner.arguments, archive)
        else:
            yield key, None
            waiting.append(_attributes(inner, key, archive))
            if len(waiting) > _DEEPEST:
                raise archive.damaged("modules nested without end")


def _attributes(value: Any, path: str, archive: Archive) -> Iterator[tuple[str, Any]]:
    """A module's attributes under their dotted keys; nothing else has any."""
    state = value.state if isinstance(value, Made) and _name(value.maker).startswith("__torch__.") else None
    for name, inner in state.items() if isinstance(state, dict) else ():
        if not isinstance(name, str) or len(path) + len(name) >= _LONGEST_KEY or not _is_text(name):
            raise archive.damaged("a module with an attribute that has no name, or one without end")
        yield f"{path}.{name}" if path else name, inner


def _is_text(name: str) -> bool:
    """Whether UTF-8 can hold it: half of a surrogate pair it cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


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
