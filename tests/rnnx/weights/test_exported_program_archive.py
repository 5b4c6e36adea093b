import io
import json
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnx
from rnnx.errors import CheckpointError
from rnnx.inspection import CheckpointInspection, inspect
from rnnx.weights.checkpoint import open_checkpoint

SEED = 20532


class Tagger(nn.Module):
    """A layer, a tied head, and buffers of which one is a view and one an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(5, 8, bidirectional=True)
        self.head = nn.Linear(16, 3)
        self.tied = self.head.weight
        self.register_buffer("count", torch.tensor(2**40 + 1))
        self.register_buffer("strided", torch.rand(3, 16).t())
        self.base = nn.Parameter(torch.arange(20.0))
        self.register_buffer("tail", self.base.detach()[4:])

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.encoder(x)
        scores: Tensor = self.head(y) + self.count + ((y + self.tail + self.base[:16]) @ self.strided)
        return scores


def tagger() -> nn.Module:
    torch.manual_seed(SEED)
    return Tagger().eval()


def save(module: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a layer's list of its own weights
        torch.export.save(torch.export.export(module, (torch.zeros(4, 2, 5, dtype=dtype),)), path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.pt2"
    save(tagger(), path)
    return path


def test_the_state_is_the_modules(saved: Path) -> None:
    checkpoint = open_checkpoint(saved)
    state = tagger().state_dict()
    assert set(checkpoint.tensors) == set(state)
    for key, value in state.items():
        found = checkpoint.tensor(key)
        assert found.dtype == value.dtype
        assert torch.equal(found, value)
        np.testing.assert_array_equal(checkpoint.read(key), value.float().numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_every_float_type_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    layer = nn.GRU(5, 8).to(dtype)
    save(layer, tmp_path / "model.pt2", dtype)
    checkpoint = open_checkpoint(tmp_path / "model.pt2")
    for key, value in layer.state_dict().items():
        assert torch.equal(checkpoint.tensor(key), value)
        assert checkpoint.tensors[key].dtype == str(dtype).removeprefix("torch.")


def test_no_torch_is_needed(saved: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rnnx.weights.checkpoint import open_checkpoint\n"
        "print(open_checkpoint(Path(sys.argv[1])).read('strided').shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, saved], capture_output=True, text=True, check=True)
    assert done.stdout == "(16, 3) False\n"


def test_a_layer_is_inspected_and_exported(saved: Path, tmp_path: Path) -> None:
    inspection = inspect(saved)
    assert isinstance(inspection, CheckpointInspection)
    assert [(m.prefix, m.type_name, m.directions) for m in inspection.modules] == [("encoder", "nn.GRU", 2)]
    report = rnnx.export(saved, tmp_path / "model.onnx")
    same = rnnx.export(tagger().get_submodule("encoder"), tmp_path / "same.onnx")
    assert report.contract.source.weights_sha256 == same.contract.source.weights_sha256


def test_it_is_told_by_its_content_and_not_by_its_name(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(saved.read_bytes())
    assert set(open_checkpoint(tmp_path / "model.pt").tensors) == set(tagger().state_dict())


def test_the_weights_of_several_programs_are_under_their_names(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(tmp_path / "model.pt2", "w") as copy:
        for name in source.namelist():
            copy.writestr(name, source.read(name))
        config = source.read("model/data/weights/model_weights_config.json")
        copy.writestr("model/data/weights/other_weights_config.json", config)
    keys = set(tagger().state_dict())
    assert set(open_checkpoint(tmp_path / "model.pt2").tensors) == {
        f"{model}.{key}" for model in ("model", "other") for key in keys
    }


def earlier(state: Any) -> bytes:
    data = io.BytesIO()
    torch.save(state, data)
    return data.getvalue()


EARLIER = {
    "2.1 to 2.7": {"serialized_exported_program.json": b"{}", "version": b"8", "serialized_state_dict.pt": b""},
    "2.8": {"model/archive_format": b"pt2", "model/models/model.json": b"{}", "model/data/weights/model.pt": b""},
}


@pytest.mark.parametrize("version", EARLIER)
def test_a_file_of_an_earlier_torch_is_read(tmp_path: Path, version: str) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        for name, content in EARLIER[version].items():
            archive.writestr(name, content or earlier(tagger().state_dict()))
    checkpoint = open_checkpoint(tmp_path / "model.pt2")
    for key, value in tagger().state_dict().items():
        assert torch.equal(checkpoint.tensor(key), value)


class Payload:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def test_a_payload_in_an_earlier_file_does_not_run(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", b"{}")
        archive.writestr("serialized_state_dict.pt", earlier({"a": Payload(tmp_path / "proof")}))
    with pytest.raises(CheckpointError, match="got a pickle that needs more than tensors"):
        open_checkpoint(tmp_path / "model.pt2")
    assert not (tmp_path / "proof").exists()


def rewritten(saved: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of an archive whose description of the weights was changed."""
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("weights_config.json"):
                config = json.loads(data)
                change(config["config"])
                data = json.dumps(config).encode()
            copy.writestr(name, data)
    return target


def entry(config: dict[str, Any]) -> dict[str, Any]:
    weight: dict[str, Any] = config["head.weight"]
    return weight


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            lambda config: entry(config)["tensor_meta"]["sizes"][0].update(as_int=10**12),
            r"got the tensor 'head\.weight' of shape \(1000000000000, 16\) in 192 bytes",
            id="size-bomb",
        ),
        pytest.param(
            lambda config: entry(config)["tensor_meta"]["sizes"][0].update(as_int=10**4000),
            r"got the tensor 'head\.weight' of sizes or strides that are no whole numbers from 0",
            id="number-bomb",
        ),
        pytest.param(
            lambda config: entry(config)["tensor_meta"].update(storage_offset={"as_int": 1}),
            r"got the tensor 'head\.weight' of shape \(3, 16\) in 192 bytes",
            id="offset",
        ),
        pytest.param(
            lambda config: entry(config)["tensor_meta"]["strides"][0].update(as_int=-16),
            r"got the tensor 'head\.weight' of sizes or strides that are no whole numbers from 0",
            id="negative",
        ),
        pytest.param(
            lambda config: entry(config)["tensor_meta"]["sizes"].append({"as_expr": "s0"}),
            r"got the tensor 'head\.weight' of sizes or strides that are no whole numbers from 0",
            id="symbol",
        ),
        pytest.param(
            lambda config: entry(config).update(path_name="../../secret"),
            r"got no entry 'model/data/weights/\.\./\.\./secret'",
            id="path",
        ),
        pytest.param(
            lambda config: entry(config).update(use_pickle=True),
            r"got the weight 'head\.weight' of a tensor subclass",
            id="subclass",
        ),
        pytest.param(
            lambda config: entry(config)["tensor_meta"].update(dtype=29),
            r"got the weight 'head\.weight' described in an unknown way",
            id="float8",
        ),
    ],
)
def test_a_changed_description_is_refused(
    saved: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(rewritten(saved, tmp_path / "model.pt2", change))


@pytest.mark.parametrize("part", [0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(saved: Path, tmp_path: Path, part: float) -> None:
    data = saved.read_bytes()
    (tmp_path / "model.pt2").write_bytes(data[: int(part * len(data))])
    with pytest.raises(CheckpointError, match="expected a whole file"):
        open_checkpoint(tmp_path / "model.pt2")


def test_a_file_without_a_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/archive_format", b"pt2")
        archive.writestr("model/data/aotinductor/model/model.so", b"")
    with pytest.raises(CheckpointError, match=r"got no weights of an exported program.*torch\.export\.save"):
        open_checkpoint(tmp_path / "model.pt2")
