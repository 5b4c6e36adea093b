import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from rnnx.errors import CheckpointError
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.named_tensors import TensorInfo

SEED = 20266
DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def save_legacy(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


SAVERS: dict[str, tuple[str, Callable[[Any, Path], None]]] = {
    "safetensors": ("safetensors", save_file),
    "torch": ("pt", torch.save),
    "torch-legacy": ("pt", save_legacy),
}


def state_dict() -> dict[str, torch.Tensor]:
    torch.manual_seed(SEED)
    return nn.LSTM(3, 5).state_dict()


@pytest.fixture(scope="module", params=SAVERS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    suffix, save = SAVERS[request.param]
    path = tmp_path_factory.mktemp(request.param) / f"model.{suffix}"
    save(state_dict(), path)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("saver", SAVERS)
def test_every_float_type_is_read_in_every_format(tmp_path: Path, saver: str, dtype: str) -> None:
    suffix, save = SAVERS[saver]
    tensors = {key: value.to(DTYPES[dtype]) for key, value in state_dict().items()}
    save(tensors, tmp_path / f"model.{suffix}")
    checkpoint = open_checkpoint(tmp_path / f"model.{suffix}")
    assert checkpoint.name == f"model.{suffix}"
    assert checkpoint.tensors["weight_ih_l0"] == TensorInfo(shape=(20, 3), dtype=dtype)
    assert set(checkpoint.tensors) == set(tensors)
    wide = torch.float64 if dtype == "float64" else torch.float32
    for key, value in tensors.items():
        read = checkpoint.read(key)
        assert read.dtype == ("float64" if dtype == "float64" else "float32")
        np.testing.assert_array_equal(read, value.to(wide).numpy())


@pytest.mark.parametrize("suffix", ["pt", "pth", "ckpt", "bin"])
def test_every_suffix_of_torch_is_read(tmp_path: Path, suffix: str) -> None:
    torch.save(state_dict(), tmp_path / f"model.{suffix}")
    assert len(open_checkpoint(tmp_path / f"model.{suffix}").tensors) == 4


def test_bfloat16_needs_no_torch(tmp_path: Path) -> None:
    save_file({"w": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    program = (
        "import sys; from pathlib import Path; from rnnx.weights.checkpoint import open_checkpoint\n"
        "print(open_checkpoint(Path(sys.argv[1])).read('w').tolist(), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "model.safetensors"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[1.5, -2.0] False\n"


def test_tensors_in_nested_containers_get_dotted_keys(tmp_path: Path) -> None:
    one = torch.ones(1)
    torch.save({"model": {"rnn.w": one}, "ema": [one, (one, {3: one})], "step": 7, "name": "a"}, tmp_path / "model.pt")
    assert list(open_checkpoint(tmp_path / "model.pt").tensors) == ["model.rnn.w", "ema.0", "ema.1.0", "ema.1.1.3"]


def test_gradient_tensors_are_read(tmp_path: Path) -> None:
    torch.save({"g": nn.Parameter(torch.ones(2))}, tmp_path / "model.pt")
    assert open_checkpoint(tmp_path / "model.pt").read("g").tolist() == [1, 1]


def refusal(path: Path) -> str:
    before = sorted(path.parent.iterdir())
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert sorted(path.parent.iterdir()) == before
    return str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: got a folder, expected a checkpoint; check the path"


def test_two_tensors_under_one_path_are_refused(tmp_path: Path) -> None:
    torch.save({"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}}, tmp_path / "model.pt")
    assert "got two tensors under the path 'a.b'" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.bfloat16, torch.float64], ids=str)
def test_a_module_gets_a_tensor_in_its_own_dtype(tmp_path: Path, saver: str, dtype: torch.dtype) -> None:
    suffix, save = SAVERS[saver]
    value = torch.tensor([[1, 0], [2**24 + 1, 3]]).to(dtype)
    save({"a": value}, tmp_path / f"model.{suffix}")
    found = open_checkpoint(tmp_path / f"model.{suffix}").tensor("a")
    assert found.dtype == dtype
    assert torch.equal(found, value)


def test_containers_that_share_their_parts_without_end_are_refused(tmp_path: Path) -> None:
    value: dict[str, Any] = {}
    for _ in range(40):
        value = {"a": value, "b": value}
    torch.save(value, tmp_path / "model.pt")
    assert "got containers of more than 1,000,000 values" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["gone.pt", "gone.safetensors", "gone"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name) == (f"{tmp_path / name}: got no such file, expected a checkpoint; check the path")


@pytest.mark.parametrize("name", ["model.h5", "model.onnx", "model.PT", "model"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"data")
    assert refusal(tmp_path / name) == (
        f"{tmp_path / name}: got suffix {Path(name).suffix!r}, expected .safetensors, .pt, .pth, .ckpt, .bin or .pt2; "
        "save the state dict in one of these formats"
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"hello\n", b"\x00" * 100, os.urandom(0) + bytes(range(256)), b"{}"],
    ids=["empty", "text", "zeros", "bytes", "json"],
)
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    assert refusal(tmp_path / "model.pt") == (
        f"{tmp_path / 'model.pt'}: got neither a zip nor a pickle, expected a whole file written by torch.save; "
        "save or copy the checkpoint again"
    )
    (tmp_path / "model.safetensors").write_bytes(content)
    message = refusal(tmp_path / "model.safetensors")
    assert message.startswith(f"{tmp_path / 'model.safetensors'}: got ")
    assert message.endswith(", expected a whole safetensors file; save or copy it again")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, whole: Path, part: float) -> None:
    data = whole.read_bytes()
    path = tmp_path / whole.name
    path.write_bytes(data[: int(part * len(data))])
    assert "expected a whole" in refusal(path)


@settings(deadline=None, database=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_damage_gives_tensors_or_a_checkpoint_error(whole: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    place = data.draw(st.integers(0, min(len(content), 3000) - 1))
    if data.draw(st.booleans()):
        content[place : place + 2] = data.draw(st.binary(min_size=1, max_size=3))
    else:
        del content[place:]
    path = whole.with_stem("damaged")
    path.write_bytes(content)
    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError:
        assert "\n" not in refusal(path)
    else:
        assert all(isinstance(info.shape, tuple) for info in checkpoint.tensors.values())


@settings(deadline=None, database=None, derandomize=True, max_examples=200)
@given(content=st.binary(max_size=60))
def test_a_pickle_of_garbage_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.pt"
    path.write_bytes(b"\x80\x02" + content)
    with pytest.raises(CheckpointError, match=r"garbage\.pt: got "):
        open_checkpoint(path)


class Payload:
    """What a hostile checkpoint runs when it is unpickled: it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def dump(value: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("save", [torch.save, save_legacy, dump], ids=["zip", "legacy", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    tmp_path: Path, save: Callable[[Any, Path], None]
) -> None:
    proof = tmp_path / "executed"
    save({"weight_ih_l0": torch.ones(1), "state": Payload(proof)}, tmp_path / "model.pt")
    message = refusal(tmp_path / "model.pt")
    assert "got a pickle that needs more than tensors (" in message
    assert message.endswith(
        "expected tensors in plain containers, loadable without executing code; "
        "save model.state_dict(), best as safetensors"
    )
    assert not proof.exists()


def test_the_payload_above_is_a_real_one(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def test_a_pickled_module_is_refused_by_its_name(tmp_path: Path) -> None:
    torch.save(nn.LSTM(3, 5), tmp_path / "model.pt")
    assert "got a pickle that needs more than tensors (Unsupported global: GLOBAL torch.nn.modules.rnn.LSTM)" in (
        refusal(tmp_path / "model.pt")
    )


def test_containers_that_hold_themselves_are_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    torch.save(loop, tmp_path / "model.pt")
    assert "got containers nested without end" in refusal(tmp_path / "model.pt")
