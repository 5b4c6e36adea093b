import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.weights.forgery.pickle_grammar import name, number, text
from tests.rnnx.weights.valid_checkpoints import rezipped
from torch import Tensor, nn

from rnnx.errors import CheckpointError
from rnnx.inspection import inspect
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.weights import choose_module, read_weights

Tensors = dict[str, Any]


def layer() -> Tensors:
    torch.manual_seed(3)
    return dict(nn.LSTM(3, 4).state_dict())


def saved(value: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about young layouts
        torch.save(value, path)
    return path


def pickled(data: bytes, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + data + b".")
        archive.writestr("archive/data/0", bytes(8))
        archive.writestr("archive/version", b"3\n")
    return path


def read(path: Path) -> Any:
    checkpoint = open_checkpoint(path)
    return read_weights(checkpoint, choose_module(checkpoint, None))


SHARED = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))
TENSOR = name("torch._utils _rebuild_tensor_v2") + b"((" + text("storage") + name("torch FloatStorage") + text("0")


def tensor(size: int, elements: int = 2, stride: int = 1) -> bytes:
    view = number(elements) + b"tQK\x00(" + number(size) + b"t(" + number(stride) + b"t\x89"
    return TENSOR + text("cpu") + view + name("collections OrderedDict") + b")RtR"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"}(" + SHARED + b"tNs", "a tuple of more than 1,000 values for a key", id="shared-tuple-key"),
        pytest.param(b"})" + b"\x85" * 200_000 + b"Ns", "tuples nested more than 100 deep", id="deep-tuple-key"),
        pytest.param(name("__builtin__ set") + b"]((" + SHARED + b"te\x85R", "1,000 values for a key", id="set"),
        pytest.param(b"]" * 200_000 + b"a" * 199_999, "containers nested without end", id="deep-lists"),
        pytest.param(name("builtins bytearray") + number(10**12) + b"\x85R", "as torch.save writes none", id="bytes"),
        pytest.param(name("torch Tensor") + number(10**11) + b"\x85R", "Unsupported global", id="tensor-of-a-size"),
        pytest.param(name("_codecs encode") + text("é") + text("punycode") + b"\x86R", "writes none", id="codec"),
        pytest.param(b"X" + struct.pack("<I", 2**32 - 1), "no end", id="text-past-the-end"),
        pytest.param(b"]" * 5_000_000, "objects of more than", id="more-objects-than-bytes"),
        pytest.param(tensor(3), "a tensor of shape (3,) in 8 bytes", id="past-its-storage"),
        pytest.param(tensor(2, elements=4), "the storage '0' of 16 bytes", id="storage-past-its-member"),
        pytest.param(tensor(-1), "no whole numbers from 0", id="negative"),
        pytest.param(tensor(2**62, stride=0), "a tensor of shape", id="overflow"),
        pytest.param(b"}" + text("\ud800.weight_ih") + tensor(2) + b"s", "a key that is no text", id="surrogate"),
        pytest.param(b"}" + text("k" * 5000) + tensor(2) + b"s", "more than 4,096 characters", id="long-key"),
    ],
)
def test_a_pickle_that_costs_or_claims_more_than_it_has_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(pickled(data, tmp_path / "m.pt"))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


FLAWED: dict[str, Callable[[Tensor], Tensor]] = {
    "coo": lambda value: value.to_sparse(),
    "csr": lambda value: value.to_sparse_csr(),
    "csc": lambda value: value.to_sparse_csc(),
    "bsr": lambda value: value.to_sparse_bsr((4, 3)),
    "bsc": lambda value: value.to_sparse_bsc((4, 3)),
    "nested": lambda value: torch.nested.nested_tensor([value, value]),
    "huge": lambda value: torch.zeros(1).expand(100_000, 3),
}


@pytest.mark.parametrize("kind", FLAWED)
def test_a_layer_of_another_layout_is_refused_and_one_beside_it_is_read(tmp_path: Path, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = FLAWED[kind](layer()["weight_ih_l0"])
    beside = saved({**layer(), "other": odd}, tmp_path / "beside.pt")
    assert read(beside).sha256 == read(saved(layer(), tmp_path / "plain.pt")).sha256
    path = saved({**layer(), "weight_ih_l0": odd}, tmp_path / "odd.pt")
    for look in (inspect, read):
        with pytest.raises(CheckpointError, match=r"key 'weight_ih_l0': got (a (sparse|nested) tensor|300,000 values)"):
            look(path)


@pytest.mark.parametrize("index", [17, -1, 10**6])
def test_sparse_indices_out_of_bounds_are_refused_wherever_they_are(tmp_path: Path, index: int) -> None:
    odd = torch.sparse_coo_tensor(torch.tensor([[index], [0]]), torch.ones(1), (16, 3), check_invariants=False)
    with pytest.raises(CheckpointError, match="index"):
        open_checkpoint(saved({**layer(), "other": odd}, tmp_path / "m.pt"))


def test_attributes_in_the_way_of_methods_change_nothing(tmp_path: Path) -> None:
    weights, container = layer(), OrderedDict(epoch=3)
    container.detach = "x"  # type: ignore[attr-defined]
    parameter: Any = nn.Parameter(weights["weight_ih_l0"])
    parameter.detach = parameter.float = "x"
    path = saved({**weights, "weight_ih_l0": parameter, "a": container}, tmp_path / "m.pt")
    assert read(path).sha256 == read(saved(weights, tmp_path / "plain.pt")).sha256


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_checkpoint_that_a_zip_tool_packed_is_read_alike(tmp_path: Path, method: int) -> None:
    plain = read(saved(layer(), tmp_path / "plain.pt"))
    again = rezipped(saved(layer(), tmp_path / "again.pt"), lambda _: method)
    assert read(again).sha256 == plain.sha256


def test_a_storage_that_lies_askew_is_not_mapped(tmp_path: Path) -> None:
    weights = {**layer(), "z": torch.arange(8).to(torch.complex128)}
    path = rezipped(saved(weights, tmp_path / "m.pt"), lambda _: zipfile.ZIP_STORED)
    assert open_checkpoint(path).tensor("z").data_ptr() % 16 == 0
