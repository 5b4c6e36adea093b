import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.rnnx.weights.valid_checkpoints import REFUSED_BY_TORCH, WRITERS, written
from torch import Tensor

from rnnx.errors import CheckpointError
from rnnx.weights.checkpoint import open_checkpoint

PER_WRITER = 56
"""Checkpoints of each of the eleven kinds: 616."""


def loaded_by_torch(path: Path) -> Any:
    """What PyTorch reads, the file never mapped into memory."""
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=False)


def tensors_in(value: Any, key: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield key, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, inner in items:
        yield from tensors_in(inner, f"{key}.{name}" if key else str(name))


def bits(tensor: Tensor) -> bytes:
    whole = tensor.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format).reshape(-1)
    return whole.view(torch.uint8).numpy().tobytes() if whole.numel() else b""


def readable(tensor: Tensor, file: Path) -> bool:
    if tensor.is_nested or tensor.layout is not torch.strided or tensor.is_meta:
        return False
    return tensor.numel() * tensor.element_size() <= file.stat().st_size


def assert_alike(path: Path, key: str, tensor: Tensor, checkpoint: Any) -> None:
    found = checkpoint.tensor(key)
    plain = Tensor.detach(tensor)
    plain = plain.dequantize() if plain.is_quantized else plain
    assert (found.dtype, found.shape) == (plain.dtype, plain.shape)
    assert bits(found) == bits(plain), f"{path.name}: {key}"
    if not plain.is_complex() and plain.dtype.is_floating_point:
        wide = plain if plain.dtype == torch.float64 else plain.float()
        numbers = ~wide.isnan()  # what a NaN carries may change with its width
        read = torch.from_numpy(checkpoint.read(key).copy())
        assert torch.equal(read.isnan(), ~numbers)
        assert bits(read[numbers]) == bits(wide[numbers]), f"{path.name}: {key}"


@pytest.mark.parametrize("writer", [name for name in WRITERS if name not in REFUSED_BY_TORCH])
def test_every_bit_is_as_torch_load_reads_it_or_the_tensor_is_refused(tmp_path: Path, writer: str) -> None:
    refused = 0
    for seed in range(PER_WRITER):
        path = written(writer, seed, tmp_path)
        expected, checkpoint = dict(tensors_in(loaded_by_torch(path))), open_checkpoint(path)
        assert list(checkpoint.tensors) == list(expected) or path.suffix == ".safetensors"
        assert set(checkpoint.tensors) == set(expected)
        for key, tensor in expected.items():
            if readable(tensor, path):
                assert_alike(path, key, tensor, checkpoint)
            else:
                refused += 1
                with pytest.raises(CheckpointError, match=r"got (a|[\d,]+ values)"):
                    checkpoint.tensor(key)
    assert refused or writer == "safetensors", "none of the layouts that are to be refused was drawn"


@pytest.mark.parametrize("writer", REFUSED_BY_TORCH)
def test_what_torch_load_refuses_is_refused(tmp_path: Path, writer: str) -> None:
    for seed in range(PER_WRITER):
        path = written(writer, seed, tmp_path)
        with pytest.raises(Exception, match=r"Unsupported|unsupported|method|PytorchStreamReader"):
            loaded_by_torch(path)
        with pytest.raises(CheckpointError, match=r"Unsupported operand|another method than deflate"):
            open_checkpoint(path)
