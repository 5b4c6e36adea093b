"""Hostile files at a small scale: read or refused in time by rnnx's own words, and nothing opened outside."""

import contextlib
import time
from pathlib import Path

import pytest
import torch
from tests.rnnx.linting.hostile_models import EXTERNAL, HOSTILE, field, sound
from torch import nn

import rnnx
from rnnx.inspection import inspect
from rnnx.linting import loading
from rnnx.linting.examination import doctor
from rnnx.runners.sources import Sources, read_subject
from rnnx_runtime import FileDamagedError, RnnxError
from rnnx_runtime.files.seal import sealed

SCALE = 0.01
SECONDS = 10.0

FILES = {
    name: make for kind, files in HOSTILE.items() for name, make in files.items() if kind not in ("counts", "metadata")
}

BESIDE = ("external data that is missing", "external data of a terabyte")
"""What names a plain file of the model's folder, absent or as long as it says."""

PASSING = {
    *BESIDE,
    "overlong varints",  # and what merges, or refers to nothing that matters
    "the graph twice",
    "the graph 20,000 times",
    "a function that calls what is not there",
    "a chain of 7,990 nodes that each read two",
    "a chain of 20,000 nodes that each read two",
    "a loop of 2^62 turns",
    "W with dims of 0",
    "hidden_size of 2^40",
    "a subgraph that reads its own node",
    "a cycle of nodes",
    "a node that reads itself",
    "a function that calls itself",
    "two functions that call each other",
    "sixty functions that each call the one before twice",
}
"""What can be read as a graph, and is judged by a backend or by the doctor's rules."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "model.onnx"
    torch.manual_seed(0)
    rnnx.export(nn.GRU(3, 4), path)
    return path


def _written(folder: Path, name: str) -> Path:
    data = FILES[name](folder, SCALE)
    (folder / "hostile.onnx").write_bytes(data)
    return folder / "hostile.onnx"


@pytest.mark.parametrize("name", FILES)
def test_reading_it_ends_in_time_and_with_rnnxs_own_words(name: str, tmp_path: Path, original: Path) -> None:
    path = _written(tmp_path, name)
    start = time.perf_counter()
    refused = ""
    try:
        read_subject(path, Sources(like=original))
    except RnnxError as error:
        refused = str(error)
    assert time.perf_counter() - start < SECONDS
    assert refused or name in PASSING
    assert len(refused) < 8_000


@pytest.mark.parametrize("name", FILES)
def test_the_doctor_ends_in_time_and_with_its_own_words(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_refused_by_onnxruntime", lambda path: "")
    path = _written(tmp_path, name)
    start = time.perf_counter()
    with contextlib.suppress(RnnxError):
        doctor(path)
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize("name", [name for name in EXTERNAL if name not in BESIDE])
def test_no_backend_opens_what_lies_outside(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise AssertionError(f"a backend was asked of {path}")

    monkeypatch.setattr(loading, "_refused_by_onnxruntime", refuse)
    path = _written(tmp_path, name)
    with pytest.raises(FileDamagedError, match="got external data"):
        doctor(path)


def test_the_sound_file_that_all_are_made_of_passes(tmp_path: Path, original: Path) -> None:
    path = tmp_path / "sound.onnx"
    path.write_bytes(sound().SerializeToString())
    assert read_subject(path, Sources(like=original)).foreign is not None
    assert doctor(path)


def test_a_sealed_file_of_too_many_parts_is_refused(original: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.onnx"
    path.write_bytes(sealed(field(8, b"") * 400_000 + original.read_bytes()))
    for read in (inspect, lambda own: read_subject(own, Sources())):
        with pytest.raises(FileDamagedError, match=r"more than [0-9,]+ parts"):
            read(path)
