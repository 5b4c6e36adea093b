"""The weights of a `.pt2` file, read without running the program in it.

`torch.export.save` writes a zip: `<root>/models/<model>.json` is the program, `<root>/data/weights/` holds raw storages
and `<model>_weights_config.json`, which says what views of them the weights are (torch/export/pt2_archive). Earlier
versions of torch wrote a state dict of `torch.save` instead.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnx.weights.archive_tensors import Archive, ArchiveCheckpoint, ArchiveTensor
from rnnx.weights.zip_members import names_of

if TYPE_CHECKING:
    from rnnx.weights.named_tensors import TensorCheckpoint

_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
}
"""torch._export.serde.schema.ScalarType."""

_STRIDED = 7
"""torch._export.serde.schema.Layout."""

_MARK = re.compile(r"[^/]+/archive_format|serialized_exported_program\.json")
_CONFIG = re.compile(r"data/weights/(.+)_weights_config\.json")
_EARLIER = re.compile(r"(?:[^/]+/)?data/weights/[^/]+\.pt|serialized_state_dict\.(?:pt|json)")


def is_exported_program(path: Path) -> bool:
    """Whether a file is a zip with the marks of `torch.export.save` in it."""
    return any(_MARK.fullmatch(name) for name in names_of(path))


def open_exported_program(path: Path) -> "TensorCheckpoint":
    """The parameters and buffers of an exported program; under its model's name where the file has several.

    Raises:
        CheckpointError: damaged, without an exported program, or with a weight that is no plain tensor.
        MissingExtraError: torch, which a file of an earlier version needs, is not installed.
    """
    archive = Archive(path, expected="a whole file written by torch.export.save")
    configs = {found[1]: entry for entry in archive.entries if (found := _CONFIG.fullmatch(_below_root(entry)))}
    if not configs:
        return _open_earlier(archive)
    tensors: dict[str, ArchiveTensor] = {}
    for model, entry in configs.items():
        lead = f"{model}." if len(configs) > 1 else ""
        for key, weight in _weights(archive, entry).items():
            tensors[lead + key] = _tensor(archive, lead + key, weight)
    return ArchiveCheckpoint(archive, tensors)


def _open_earlier(archive: Archive) -> "TensorCheckpoint":
    from rnnx.weights.torch_pickle import flat_tensors, loaded_pickle
    from rnnx.weights.torch_tensors import TorchCheckpoint

    found = [entry for entry in archive.entries if _EARLIER.fullmatch(entry)]
    if len(found) != 1:
        raise archive.damaged("no weights of an exported program", "save it with torch.export.save, not compiled")
    part = archive.read(found[0])
    tensors = flat_tensors(loaded_pickle(archive.path, part), archive.path)
    return TorchCheckpoint(archive.path.name, tensors, file_size=len(part))


def _weights(archive: Archive, entry: str) -> Mapping[str, Any]:
    text = archive.read(entry)
    if _parsed_bytes(text) > archive.most_bytes:
        raise archive.damaged(f"weights described at more length ({len(text):,} bytes) than the file has weights")
    try:
        config = json.loads(text)["config"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise archive.damaged(f"weights that are not described ({type(error).__name__}: {error})") from None
    if not isinstance(config, dict):
        raise archive.damaged("weights that are not described")
    return config


def _parsed_bytes(text: bytes) -> int:
    """What the objects of a JSON text take in memory, by the characters that make them."""
    return 200 * text.count(b"{") + 64 * text.count(b"[") + 40 * text.count(b'"') + 16 * text.count(b",")


def _tensor(archive: Archive, key: str, weight: Any) -> ArchiveTensor:
    """A weight from its `PayloadMeta` (torch._export.serde.schema)."""
    match weight:
        case {"use_pickle": True}:
            raise archive.damaged(f"the weight {key!r} of a tensor subclass", "save the weights in a plain dtype")
        case {
            "path_name": str(place),
            "tensor_meta": {
                "dtype": int(dtype),
                "sizes": list(sizes),
                "strides": list(strides),
                "storage_offset": {"as_int": offset},
                "layout": int(layout),
            },
        } if dtype in _DTYPES and layout == _STRIDED:
            return ArchiveTensor(
                entry=f"{archive.root}/data/weights/{place}",
                dtype=_DTYPES[dtype],
                shape=_whole(sizes),
                strides=_whole(strides),
                offset=offset,
            )
    raise archive.damaged(f"the weight {key!r} described in an unknown way")


def _whole(sizes: list[Any]) -> tuple[Any, ...]:
    """Sizes of a checked archive; what is not a number is left to its check."""
    return tuple(size.get("as_int") if isinstance(size, dict) else None for size in sizes)


def _below_root(entry: str) -> str:
    return entry.partition("/")[2]
