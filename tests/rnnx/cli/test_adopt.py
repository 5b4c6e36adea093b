"""`rnnx adopt` on the command line."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import numpy_helper
from safetensors.numpy import save_file
from tests.rnnx.adopting.foreign_files import PLAIN, STATES, foreign_model, write

from rnnx.cli import group
from rnnx.cli.adopt_values import constants_from_texts, integers_from_texts, names_from_texts, ranges_from_texts
from rnnx.errors import OptionError
from rnnx_runtime.array_type import Array

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def test_the_table_says_what_was_found_and_proved(tmp_path: Path) -> None:
    write(tmp_path / "theirs.onnx", STATES)
    done = CliRunner().invoke(group, ["adopt", str(tmp_path / "theirs.onnx"), "-o", str(tmp_path / "ours.onnx")])
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "h0 → hn (graph: LSTM 'whole, hn, cn')" in text
    assert "states: chunks give what the whole gives" in text
    assert "ONNX Runtime float32: the file's own values, no PyTorch truth" in text
    assert (tmp_path / "ours.golden.npz").is_file()


def test_the_report_is_json(tmp_path: Path) -> None:
    write(tmp_path / "theirs.onnx", STATES)
    arguments = ["adopt", str(tmp_path / "theirs.onnx"), "-o", str(tmp_path / "ours.onnx"), "--json"]
    done = CliRunner().invoke(group, [*arguments, "--state", "h0=hn", "--size", "B=3", "--value", "x=0..2"])
    report = json.loads(done.stdout)
    assert report["contract"]["truth"] == "onnxruntime-float32"
    assert report["states"][0] == "h0 → hn (as given)"


def test_a_file_without_recurrence_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "theirs.onnx", PLAIN)
    done = CliRunner().invoke(group, ["adopt", str(tmp_path / "theirs.onnx"), "-o", str(tmp_path / "ours.onnx")])
    assert "got no recurrence, no state and no lengths, but 1 Relu, 1 Add" in str(done.exception)
    assert not (tmp_path / "ours.onnx").exists()


def test_values_are_read() -> None:
    assert names_from_texts(["h = h_out"]) == {"h": "h_out"}
    assert integers_from_texts(["T=16", "input.1=512"]) == {"T": 16, "input.1": 512}
    assert ranges_from_texts(["sr=16000", "x=-1.5..2"]) == {"sr": (16000, 16000), "x": (-1.5, 2)}
    assert constants_from_texts(["go=true"]) == {"go": "true"}


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        (names_from_texts, ["h"]),
        (names_from_texts, ["h=a", "h=b"]),
        (integers_from_texts, ["T=0"]),
        (integers_from_texts, ["T=x"]),
        (integers_from_texts, ["T=99999999999"]),
        (ranges_from_texts, ["x=2..1"]),
        (ranges_from_texts, ["x=1..inf"]),
        (constants_from_texts, ["=1"]),
    ],
)
def test_values_that_are_none_are_refused(read: object, texts: list[str]) -> None:
    assert callable(read)
    with pytest.raises(OptionError, match=r"got .*, expected .*; such as --"):
        read(texts)


def test_a_checkpoint_gives_the_truth_and_another_one_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "theirs.onnx", STATES)
    weights = {own.name: numpy_helper.to_array(own) for own in foreign_model(STATES).graph.initializer}
    save_file(_as_pytorch(weights), tmp_path / "own.safetensors")
    save_file({key: value * 2 for key, value in _as_pytorch(weights).items()}, tmp_path / "other.safetensors")
    arguments = ["adopt", str(tmp_path / "theirs.onnx"), "-o", str(tmp_path / "ours.onnx"), "--map", "output=y"]
    done = CliRunner().invoke(group, [*arguments, "--checkpoint", str(tmp_path / "other.safetensors")])
    assert "output 'y' of theirs.onnx at T12 B2: got an error of" in str(done.exception)
    assert not (tmp_path / "ours.onnx").exists()
    done = CliRunner().invoke(group, [*arguments, "--checkpoint", str(tmp_path / "own.safetensors"), "--json"])
    assert json.loads(done.stdout)["contract"]["truth"] == "float64"


def _as_pytorch(weights: Mapping[str, Array]) -> dict[str, Array]:
    """ONNX's gates i, o, f, c as PyTorch's i, f, g, o."""
    order = np.r_[0:8, 16:24, 24:32, 8:16]
    biases = weights["b"][0].reshape(2, 32)
    found = {"weight_ih_l0": weights["w"][0], "weight_hh_l0": weights["r"][0]}
    found |= {"bias_ih_l0": biases[0], "bias_hh_l0": biases[1]}
    return {key: np.ascontiguousarray(value[order]) for key, value in found.items()}
