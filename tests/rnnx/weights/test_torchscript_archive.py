import os
import pickle
import shutil
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
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rnnx
from rnnx.errors import CheckpointError
from rnnx.inspection import CheckpointInspection, inspect
from rnnx.weights.checkpoint import open_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit's own, for it is old

SEED = 20531


class Tagger(nn.Module):
    """A layer, a head that is tied to a plain attribute, and buffers of other dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(5, 8, 2, bidirectional=True)
        self.head = nn.Linear(16, 3)
        self.tied = self.head.weight
        self.register_buffer("scale", torch.rand(16).t())
        self.register_buffer("count", torch.tensor(2**40 + 1))
        self.register_buffer("strided", torch.rand(3, 16).t())
        self.register_buffer("tail", torch.arange(20.0)[4:])

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.encoder(x)
        scores: Tensor = self.head(y * self.scale + self.tail) + self.count
        return scores


def tagger() -> nn.Module:
    torch.manual_seed(SEED)
    return Tagger().eval()


def save_scripted(module: nn.Module, path: Path) -> None:
    torch.jit.save(torch.jit.script(module), path)


def save_traced(module: nn.Module, path: Path) -> None:
    trace: Any = torch.jit.trace
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the sizes that a trace freezes
        torch.jit.save(trace(module, torch.zeros(4, 2, 5)), path)


SAVERS = {"scripted": save_scripted, "traced": save_traced}


@pytest.fixture(scope="module", params=SAVERS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "model.pt"
    SAVERS[request.param](tagger(), path)
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
    torch.jit.save(torch.jit.script(layer), tmp_path / "model.pt")
    checkpoint = open_checkpoint(tmp_path / "model.pt")
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for key, value in layer.state_dict().items():
        assert torch.equal(checkpoint.tensor(key), value)
        assert checkpoint.tensors[key].dtype == str(dtype).removeprefix("torch.")
        np.testing.assert_array_equal(checkpoint.read(key), value.to(wide).numpy(), strict=True)


def test_no_torch_is_needed(saved: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rnnx.weights.checkpoint import open_checkpoint\n"
        "print(open_checkpoint(Path(sys.argv[1])).read('scale').shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, saved], capture_output=True, text=True, check=True)
    assert done.stdout == "(16,) False\n"


def test_a_layer_is_inspected_and_exported(saved: Path, tmp_path: Path) -> None:
    inspection = inspect(saved)
    assert isinstance(inspection, CheckpointInspection)
    assert [(m.prefix, m.type_name, m.layers, m.directions) for m in inspection.modules] == [
        ("encoder", "nn.LSTM", 2, 2)
    ]
    report = rnnx.export(saved, tmp_path / "model.onnx")
    same = rnnx.export(tagger().get_submodule("encoder"), tmp_path / "same.onnx")
    assert report.contract.source.weights_sha256 == same.contract.source.weights_sha256


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    return str(caught.value)


def test_a_frozen_module_is_refused_by_name(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.freeze(torch.jit.script(tagger())), tmp_path / "model.pt")
    assert refusal(tmp_path / "model.pt") == (
        f"{tmp_path / 'model.pt'}: got a frozen TorchScript module, whose weights have no names, expected a whole file "
        "written by torch.jit.save; save the module before torch.jit.freeze, or its state dict"
    )


def rewritten(saved: Path, target: Path, change: Callable[[str, bytes], bytes], compress: str = "") -> Path:
    """A copy of an archive, its entries changed one by one."""
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            kind = zipfile.ZIP_DEFLATED if compress and name.endswith(compress) else zipfile.ZIP_STORED
            copy.writestr(name, change(name, source.read(name)), compress_type=kind)
    return target


class Payload:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def test_a_payload_in_the_archive_does_not_run(saved: Path, tmp_path: Path) -> None:
    bomb = pickle.dumps(Payload(tmp_path / "proof"), protocol=2)
    path = rewritten(saved, tmp_path / "m.pt", lambda name, data: bomb if name.endswith(".pkl") else data)
    assert open_checkpoint(path).tensors == {}
    assert not (tmp_path / "proof").exists()


def replaced(old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    return lambda name, data: data.replace(old, new) if name.endswith("data.pkl") else data


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(replaced(b"(K\x03K\x10t", b"(K\x03K\x11t"), r"of shape \(3, 17\) in 192 bytes", id="shape"),
        pytest.param(
            lambda name, data: data[:-1] if name.endswith("/data/0") else data, r"of shape .* bytes", id="storage-cut"
        ),
        pytest.param(replaced(b"FloatStorage", b"QInt8Storage"), "in a torch.QInt8Storage", id="quantized"),
        pytest.param(lambda name, data: data[:-9] if name.endswith("data.pkl") else data, "cannot be read", id="cut"),
    ],
)
def test_a_changed_archive_is_refused(
    saved: Path, tmp_path: Path, change: Callable[[str, bytes], bytes], reason: str
) -> None:
    path = rewritten(saved, tmp_path / "model.pt", change)
    with zipfile.ZipFile(saved) as before, zipfile.ZipFile(path) as after:
        changed = [name for name in before.namelist() if before.read(name) != after.read(name)]
    assert changed
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(path)


def test_a_tensor_that_repeats_its_storage_beyond_the_file_is_refused(tmp_path: Path) -> None:
    module = nn.GRU(5, 8)
    module.register_buffer("wide", torch.zeros(1).expand(1000, 1000))
    torch.jit.save(torch.jit.script(module), tmp_path / "model.pt")
    size = (tmp_path / "model.pt").stat().st_size
    assert f"got the tensor 'wide' of shape (1000, 1000) in {size} bytes" in refusal(tmp_path / "model.pt")


def test_numbers_of_a_machine_of_the_other_byte_order_are_read(saved: Path, tmp_path: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name.endswith("/byteorder"):
            return b"big"
        if "/data/" not in name or len(data) == 8:  # the count, an int64
            return data[::-1] if "/data/" in name else data
        return np.frombuffer(data, np.uint32).byteswap().tobytes()

    checkpoint = open_checkpoint(rewritten(saved, tmp_path / "model.pt", change))
    for key, value in tagger().state_dict().items():
        assert torch.equal(checkpoint.tensor(key), value)
        np.testing.assert_array_equal(checkpoint.read(key), value.float().numpy())


def test_a_tree_that_shares_its_branches_without_end_is_refused(saved: Path, tmp_path: Path) -> None:
    module = b"c__torch__\nM\n)\x81}"
    tree = b"\x80\x02" + module + b"bq\x00"
    for level in range(40):
        below = bytes([level])
        tree += module + b"(X\x01\x00\x00\x00ah" + below + b"X\x01\x00\x00\x00bh" + below + b"ubq" + bytes([level + 1])
    path = rewritten(saved, tmp_path / "m.pt", lambda name, data: tree + b"." if name.endswith("data.pkl") else data)
    assert "got a module tree of more than 1,000,000 attributes" in refusal(path)


def test_a_compressed_entry_is_refused(saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "model.pt", lambda _, data: data, compress="/data.pkl")
    assert "compressed or of an untrue size" in refusal(path)


def test_a_flipped_bit_of_a_weight_is_found_when_it_is_read(saved: Path, tmp_path: Path) -> None:
    weight = tagger().state_dict()["head.weight"].numpy().tobytes()
    data = bytearray(saved.read_bytes())
    data[data.index(weight) + 7] ^= 1
    (tmp_path / "model.pt").write_bytes(data)
    checkpoint = open_checkpoint(tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"got the entry 'model/data/\d+' broken \(Bad CRC-32"):
        checkpoint.read("head.weight")


@settings(deadline=None, database=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_damage_gives_tensors_or_a_checkpoint_error(saved: Path, data: st.DataObject) -> None:
    content = bytearray(saved.read_bytes())
    place = data.draw(st.one_of(st.integers(0, len(content) - 1), st.integers(1, 3000).map(lambda back: -back)))
    if data.draw(st.booleans()):
        content[place] = data.draw(st.integers(0, 255))
    else:
        del content[place:]
    path = saved.with_stem("damaged")
    path.write_bytes(content)
    try:
        checkpoint = open_checkpoint(path)
        for key in checkpoint.tensors:
            checkpoint.read(key)
    except CheckpointError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


def test_a_tree_of_names_without_end_is_refused(saved: Path, tmp_path: Path) -> None:
    module, name = b"c__torch__\nM\n)\x81}", b"x" * 1000
    first = module + b"X\xe8\x03\x00\x00" + name + b"q\x00"
    tree = b"\x80\x02" + first + (module + b"h\x00") * 30 + b"K\x01" + b"sb" * 31
    path = rewritten(saved, tmp_path / "m.pt", lambda entry, data: tree + b"." if entry.endswith("data.pkl") else data)
    assert "got a module with an attribute that has no name, or one without end" in refusal(path)


def test_an_attribute_whose_name_is_an_object_is_refused(saved: Path, tmp_path: Path) -> None:
    module = b"c__torch__\nM\n)\x81"
    tree = b"\x80\x02" + module + b"}" + module + b"K\x01sb."
    path = rewritten(saved, tmp_path / "m.pt", lambda entry, data: tree if entry.endswith("data.pkl") else data)
    assert "got a module tree that cannot be read (a __torch__.M for a key)" in refusal(path)


def test_two_entries_of_one_name_are_refused(saved: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(saved, tmp_path / "model.pt"))
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(archive.namelist()[0], b"other")
    assert "got two members of one name" in refusal(path)


def test_stored_bytes_that_say_they_are_compressed_are_refused(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        entry = next(name for name in archive.namelist() if name.endswith("data.pkl")).encode()
    data = bytearray(saved.read_bytes())
    data[data.find(entry) - 22] = data[data.rfind(entry) - 36] = zipfile.ZIP_DEFLATED
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    assert "compressed or of an untrue size" in refusal(path)
