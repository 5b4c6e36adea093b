"""Checkpoints of every kind that PyTorch reads, drawn by a seed: their tensors, their nesting, how they are written."""

import random
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

Writer = Callable[[Any, Path, random.Random], Path]

DTYPES = [
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool, torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16),
]

LATER = [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16]
"""Dtypes that torch.load cannot read from a file in the format of before torch 1.6."""


def values(chance: random.Random, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random bits that are numbers of a dtype, NaN and infinities among them."""
    count = 1
    for size in shape:
        count *= size
    data = bytearray(chance.randbytes(max(1, count) * torch.empty(0, dtype=dtype).element_size()))
    if dtype is torch.bool:
        data = bytearray(byte & 1 for byte in data)
    return torch.frombuffer(data, dtype=dtype)[:count].reshape(shape)


def _any(chance: random.Random) -> Tensor:
    shape = [chance.randint(1, 5) for _ in range(chance.randint(0, 4))]
    return values(chance, *shape, dtype=chance.choice(DTYPES))


def _quantized(chance: random.Random) -> Tensor:
    plain = torch.rand(4, 3, generator=torch.Generator().manual_seed(chance.randrange(2**31)))
    dtype = chance.choice([torch.qint8, torch.quint8, torch.qint32])
    if chance.random() < 0.5:
        return torch.quantize_per_tensor(plain, chance.uniform(0.01, 1), chance.randint(0, 5), dtype)
    scales, zeros = torch.rand(4, dtype=torch.float64) + 0.1, torch.zeros(4, dtype=torch.int64)
    return torch.quantize_per_channel(plain, scales, zeros, 0, dtype)


def _with_attribute(chance: random.Random) -> nn.Parameter:
    parameter: Any = nn.Parameter(values(chance, 3, 2))
    parameter.detach, parameter.shard, parameter._is_initialized = "x", (0, "rows"), True
    return parameter  # type: ignore[no-any-return]


PLAIN: dict[str, Callable[[random.Random], Any]] = {
    "any": _any,
    "scalar": lambda chance: values(chance, dtype=chance.choice(DTYPES)),
    "empty": lambda chance: torch.zeros(*chance.choice([(0,), (3, 0), (0, 4, 2)])),
    "transposed": lambda chance: values(chance, 4, 6).t(),
    "view": lambda chance: values(chance, 40)[chance.randint(1, 9) :: chance.randint(1, 3)],
    "permuted": lambda chance: values(chance, 2, 3, 4).permute(2, 0, 1),
    "overlapping": lambda chance: values(chance, 10).unfold(0, 4, 2),
    "expanded": lambda chance: values(chance, 3, 1).expand(3, 5),
    "far-offset": lambda chance: values(chance, 5000)[4990:],
    "diagonal": lambda chance: values(chance, 5, 5).diagonal(),
    "parameter": lambda chance: nn.Parameter(values(chance, 4, 3), chance.random() < 0.5),
    "attribute": _with_attribute,
    "buffer": lambda chance: nn.Buffer(values(chance, 4)),
    "conjugate": lambda chance: values(chance, 3, dtype=torch.complex64).conj(),
    "imaginary": lambda chance: values(chance, 3, dtype=torch.complex64).conj().imag,
    "quantized": _quantized,
}
"""Tensors with values that can be read."""


def _compressed(layout: torch.layout) -> Callable[[random.Random], Tensor]:
    block = (2, 2) if layout in (torch.sparse_bsr, torch.sparse_bsc) else None
    return lambda chance: torch.eye(4).to_sparse(layout=layout, blocksize=block)


FLAWED: dict[str, Callable[[random.Random], Tensor]] = {
    "coo": lambda chance: torch.eye(chance.randint(2, 5)).to_sparse(),
    "csr": _compressed(torch.sparse_csr),
    "csc": _compressed(torch.sparse_csc),
    "bsr": _compressed(torch.sparse_bsr),
    "bsc": _compressed(torch.sparse_bsc),
    "nested": lambda chance: torch.nested.nested_tensor([torch.ones(2), torch.ones(chance.randint(1, 4))]),
    "meta": lambda chance: torch.ones(2, 3, device="meta"),
    "huge": lambda chance: torch.zeros(1).expand(chance.randint(10_000, 100_000), 1000),
}
"""Tensors that PyTorch reads and no layer can use: they must keep nothing else from use."""

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "legacy": ("nested",),
    "big-endian": ("coo", "csr", "csc", "bsr", "bsc", "nested", "quantized"),
}
"""What PyTorch cannot read: sizes that come after it reads them, and indices turned around, which are out of bounds."""

OTHERS: list[Callable[[random.Random], Any]] = [
    lambda chance: chance.randint(-(2**70), 2**70),
    lambda chance: chance.random(),
    lambda chance: "é" * chance.randint(0, 9),
    lambda chance: None,
    lambda chance: True,
    lambda chance: b"\x00\xff" * chance.randint(1, 3),
    lambda chance: bytearray(b"ab"),
    lambda chance: {1, "a"},
    lambda chance: Counter("abca"),
    lambda chance: torch.float32,
    lambda chance: torch.Size([2, 3]),
    lambda chance: torch.device("cpu"),
    lambda chance: torch.sparse_coo,
    lambda chance: complex(1, 2),
    lambda chance: {(1, 2): "a", 3.5: [1, 2], None: ()},
]
"""What else is in a training script's checkpoint."""


def content(chance: random.Random, writer: str = "torch") -> dict[str, Any]:
    """A recurrent layer's tensors among others, some of them shared."""
    layer = chance.choice([nn.LSTM, nn.GRU, nn.RNN])(chance.randint(1, 4), chance.randint(1, 4), chance.randint(1, 2))
    dtype = chance.choice([torch.float32, torch.float16, torch.bfloat16, torch.float64])
    tensors: dict[str, Any] = {
        key: values(chance, *value.shape, dtype=dtype) for key, value in layer.state_dict().items()
    }
    for number in range(chance.randint(0, 5)):
        kinds: dict[str, Callable[[random.Random], Any]] = FLAWED if chance.random() < 0.2 else PLAIN
        kind = chance.choice([name for name in kinds if name not in LEFT_OUT.get(writer, ())])
        made = kinds[kind](chance)
        if writer != "legacy" or made.dtype not in LATER:
            tensors[f"extra{number}"] = made
    shared = values(chance, 30)
    tensors |= {f"tied{number}": shared[number : number + 9] for number in range(chance.randint(0, 3))}
    return tensors


def nested(tensors: dict[str, Any], chance: random.Random) -> Any:
    """The tensors as a training script may have kept them."""
    other = {f"other{number}": make(chance) for number, make in enumerate(OTHERS) if chance.random() < 0.3}
    metadata: Any = OrderedDict(tensors)
    metadata._metadata = {"": {"version": 1}}
    makers: list[Callable[[], Any]] = [
        lambda: tensors,
        lambda: metadata,
        lambda: {f"module.{key}": value for key, value in tensors.items()},
        lambda: {"state_dict": metadata, "epoch": 3, "hyper_parameters": other, "optimizer_states": [{0: {}}]},
        lambda: {"model": tensors, **other, "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}}},
        lambda: [tensors, (list(tensors.values())[:1], other)],
        lambda: {"a": {"b": ({"c": tensors}, other)}},
    ]
    return chance.choice(makers)()


def _torch(value: Any, path: Path, chance: random.Random) -> Path:
    torch.save(value, path)
    return path


def _without_bytes(value: Any) -> Any:
    """torch.load cannot read how protocol 3 writes bytes."""
    if isinstance(value, dict):
        return {key: _without_bytes(inner) for key, inner in value.items() if not isinstance(inner, bytes | bytearray)}
    return type(value)(map(_without_bytes, value)) if type(value) in (list, tuple) else value


def _protocol_3(value: Any, path: Path, chance: random.Random) -> Path:
    torch.save(_without_bytes(value), path, pickle_protocol=3)
    return path


def _newer_protocol(value: Any, path: Path, chance: random.Random) -> Path:
    torch.save(value, path, pickle_protocol=chance.choice([4, 5]))
    return path


def _legacy(value: Any, path: Path, chance: random.Random) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return path


def _without_crc(value: Any, path: Path, chance: random.Random) -> Path:
    torch.serialization.set_crc32_options(False)
    try:
        return _torch(value, path, chance)
    finally:
        torch.serialization.set_crc32_options(True)


def rezipped(path: Path, method: Callable[[str], int], change: Callable[[str, bytes], bytes] | None = None) -> Path:
    """The zip written once more, each member by the method for its name, its bytes changed."""
    with zipfile.ZipFile(path) as before:
        members = [(name, before.read(name)) for name in before.namelist()]
    with zipfile.ZipFile(path, "w") as after:
        for name, data in members:
            after.writestr(name, change(name, data) if change else data, method(name))
    return path


def _deflated(value: Any, path: Path, chance: random.Random) -> Path:
    return rezipped(_torch(value, path, chance), lambda name: zipfile.ZIP_DEFLATED)


def _partly_deflated(value: Any, path: Path, chance: random.Random) -> Path:
    return rezipped(_torch(value, path, chance), lambda name: chance.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED]))


def _stored_again(value: Any, path: Path, chance: random.Random) -> Path:
    return rezipped(_torch(value, path, chance), lambda name: zipfile.ZIP_STORED)


def _otherwise_packed(value: Any, path: Path, chance: random.Random) -> Path:
    method = chance.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    return rezipped(_torch(value, path, chance), lambda name: method)


def _big_endian(value: Any, path: Path, chance: random.Random) -> Path:
    """The bytes are then those of other numbers, which torch must turn around as we must."""
    method = chance.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
    _torch(value, path, chance)
    return rezipped(path, lambda _: method, lambda name, data: b"big" if name.endswith("/byteorder") else data)


def _safetensors(value: Any, path: Path, chance: random.Random) -> Path:
    plain = {
        key: tensor.detach().clone().contiguous()
        for key, tensor in content(chance).items()
        if not key.startswith("extra")
    }
    save_file(plain, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


WRITERS: dict[str, Writer] = {
    "torch": _torch,
    "protocol-3": _protocol_3,
    "protocol-4-or-5": _newer_protocol,
    "legacy": _legacy,
    "without-crc": _without_crc,
    "deflated": _deflated,
    "partly-deflated": _partly_deflated,
    "stored-again": _stored_again,
    "bzip2-or-lzma": _otherwise_packed,
    "big-endian": _big_endian,
    "safetensors": _safetensors,
}
"""How a checkpoint is written, and rewritten by tools."""

REFUSED_BY_TORCH = ("protocol-4-or-5", "bzip2-or-lzma")


def written(writer: str, seed: int, folder: Path) -> Path:
    """One checkpoint of a kind, all of it decided by the seed."""
    chance = random.Random(f"{writer} {seed}")
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about layouts that are young and others that are old
        return WRITERS[writer](nested(content(chance, writer), chance), folder / f"{writer}-{seed}.pt", chance)
