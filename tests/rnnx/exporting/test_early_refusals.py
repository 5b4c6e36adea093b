"""What could not be written is told before the work begins, by every function that writes models."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from tests.rnnx.decoders.small_pairs import example, options, pair_of
from torch import nn

import rnnx
from rnnx.decoders.exporting import export_decoder
from rnnx.decoders.pair_export import export_seq2seq
from rnnx.errors import OutputError
from rnnx.exporting.factory_export import export_factory
from rnnx.tracing.exporting import export_model


def began(*_: object, **__: object) -> NoReturn:
    raise AssertionError("the work began")


class Unused(nn.Module):
    """A model that no refusal calls."""

    forward = began


def layer(target: Path) -> None:
    rnnx.export("no-such.safetensors", target.with_suffix(".onnx"))


def model(target: Path) -> None:
    export_model(Unused(), (torch.zeros(1),), target.with_suffix(".onnx"))


def factory(target: Path) -> None:
    export_factory("no_such_module:make", target.with_suffix(".onnx"))


def decoder(target: Path) -> None:
    export_decoder(Unused(), (torch.zeros(1),), target.with_suffix(".onnx"))


def pair(target: Path) -> None:
    export_seq2seq(*pair_of("gru"), example(), target.with_name(f"{target.stem}.seq2seq.json"), options())


def engine(target: Path) -> None:
    rnnx.build_engine("no-such.onnx", target.with_suffix(".plan"))


def timing_cache(target: Path) -> None:
    cache = target.with_suffix(".cache")
    rnnx.build_engine("no-such.onnx", "model.plan", rnnx.EngineOptions(timing_cache=cache))


WRITERS: list[tuple[Callable[[Path], None], tuple[str, ...]]] = [
    (layer, ("x.onnx", "x.golden.npz")),
    (model, ("x.onnx", "x.golden.npz")),
    (factory, ("x.onnx", "x.golden.npz")),
    (decoder, ("x.onnx", "x.golden.npz")),
    (pair, ("x.seq2seq.json", "x.encoder.onnx", "x.decoder.onnx", "x.decoder.golden.npz")),
    (engine, ("x.plan", "x.plan.json")),
    (timing_cache, ("x.cache",)),
]

FILES = [pytest.param(write, name, id=f"{write.__name__}-{name}") for write, names in WRITERS for name in names]


@pytest.fixture(autouse=True)
def _no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rnnx.decoders.pair_export.read_pair_call", began)


@pytest.mark.parametrize(("write", "name"), FILES)
@pytest.mark.parametrize("kind", ["FIFO", "folder", "descriptor", "long name"])
def test_a_file_that_could_not_be_written_is_told_first(
    write: Callable[[Path], None], name: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    stem = "x"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "descriptor":
        path.symlink_to("/dev/stdout")
    else:
        stem = "x" * 300
    before = list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="File name too long" if kind == "long name" else f"got (a )?{kind}"):
        write(tmp_path / stem)
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize("write", [write for write, _ in WRITERS], ids=[write.__name__ for write, _ in WRITERS])
@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_folder_that_is_none_is_told_first(write: Callable[[Path], None], folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="got no such folder"):
        write(tmp_path / folder / "x")


@pytest.mark.parametrize("write", [write for write, _ in WRITERS], ids=[write.__name__ for write, _ in WRITERS])
def test_a_folder_that_takes_no_files_is_told_first(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:  # root may write everywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    with pytest.raises(OutputError, match="got Permission denied"):
        write(tmp_path / "x")


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_an_export_does_not_write_over_its_source(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / f"weights.{suffix}"
    source.write_text("weights")
    (tmp_path / "model.onnx").symlink_to(source)
    with pytest.raises(OutputError, match="got a file that is read"):
        rnnx.export(source, tmp_path / "model.onnx")
    assert source.read_text() == "weights"


def test_an_engine_does_not_write_over_its_source(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("model")
    (tmp_path / "model.plan").symlink_to("model.onnx")
    with pytest.raises(OutputError, match="got a file that is read"):
        rnnx.build_engine(tmp_path / "model.onnx", tmp_path / "model.plan")


def test_a_timing_cache_is_not_the_plan(tmp_path: Path) -> None:
    options = rnnx.EngineOptions(timing_cache=tmp_path / "model.plan")
    with pytest.raises(OutputError, match=r"got the place of model\.plan too"):
        rnnx.build_engine(tmp_path / "model.onnx", tmp_path / "model.plan", options)
