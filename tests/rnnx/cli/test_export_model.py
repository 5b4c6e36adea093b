import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from rnnx.cli import group
from rnnx.errors import CheckpointError, FactoryError, OptionError
from rnnx.modules.factories import importable, make_model
from rnnx_runtime.errors import RnnxError

FIXTURES = Path(__file__).parents[2] / "fixtures"
INPUTS = ("--input", "tokens:int64:B,T:0..10", "--input", "lengths:int64:B")


@pytest.fixture(autouse=True)
def in_the_fixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIXTURES)


def export(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["export", *map(str, arguments)])


def refusal(*arguments: object) -> RnnxError:
    result = export(*arguments)
    assert isinstance(result.exception, RnnxError)
    assert result.stdout == ""
    return result.exception


def test_a_factory_becomes_a_model_and_a_table(tmp_path: Path) -> None:
    result = export("factories.taggers:make_tagger", *INPUTS, "-o", tmp_path / "model.onnx")
    assert result.exit_code == 0, result.output
    rows = [line.split(maxsplit=1) for line in result.stdout.splitlines()[1:] if line.strip()]
    assert [row[0] for row in rows].count("input") == 2
    shown = {name: value.strip() for name, value in rows if name not in ("input", "check")}
    assert shown["source"] == "factories.taggers:make_tagger · Tagger"
    assert shown["weights"] == "as the factory left them"
    assert shown["output"] == "output float32 (B, T, 4)"
    assert shown["recurrent"] == "encoder nn.LSTM 5 → 8, 1 layer, both directions: fused"
    assert shown["lengths"] == "lengths"
    assert shown["note"].startswith("put into evaluation mode")
    assert shown["golden"] == str(tmp_path / "model.golden.npz")
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.golden.npz"}


def test_the_report_is_json_on_request_whatever_the_factory_prints(tmp_path: Path) -> None:
    flags = ("--stateful", "--output-names", "scores, frames", "--opset", 21, "--json")
    result = export("factories.taggers:make_scorer", "-o", tmp_path / "model.onnx", *flags)
    assert result.exit_code == 0, result.output
    assert "building the scorer" in result.stderr
    report = json.loads(result.stdout)
    assert report["path"] == str(tmp_path / "model.onnx")
    assert report["source"] == "factories.taggers:make_scorer · Scorer"
    assert report["contract"]["states"] == [{"input": "h0", "output": "hn"}]
    assert [spec["name"] for spec in report["contract"]["outputs"]] == ["scores", "frames", "hn"]
    assert report["contract"]["versions"]["opset"] == "21"
    assert report["bytes"] == (tmp_path / "model.onnx").stat().st_size


def test_a_static_export_is_of_the_examples_sizes(tmp_path: Path) -> None:
    result = export("factories.taggers:scorer", "--static", "-o", tmp_path / "model.onnx")
    assert "x float32 (3, 19, 5)" in result.stdout


def test_a_checkpoint_is_loaded(tmp_path: Path) -> None:
    with importable(FIXTURES):
        module = make_model("factories.taggers:make_tagger").module
    torch.save({"model": module.state_dict()}, tmp_path / "best.pt")
    arguments = ("factories.taggers:make_tagger", *INPUTS, "--checkpoint", tmp_path / "best.pt")
    result = export(*arguments, "-o", tmp_path / "model.onnx")
    assert "11 tensors of best.pt, under 'model'" in result.stdout


DECODER = ("factories.decoders:Decoder", "--input", "token:int64:B:0..6", "--input", "state:float32:B,8")


def test_a_form_makes_the_model_a_decoder(tmp_path: Path) -> None:
    result = export(*DECODER, "--form", "step", "-o", tmp_path / "model.onnx")
    assert result.exit_code == 0, result.output
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines()[1:] if line.strip())
    assert rows["decoder"].strip() == "step"
    assert rows["state"].strip().startswith("state → ")


def test_every_option_of_a_decoder_reaches_the_contract(tmp_path: Path) -> None:
    tokens = ("--start-token", 1, "--end-token", 2, "--pad-token", 0)
    result = export(*DECODER, "--form", "loop", "--steps", 9, *tokens, "--json", "-o", tmp_path / "model.onnx")
    assert result.exit_code == 0, result.output
    part = json.loads(result.stdout)["contract"]["decoder"]
    assert (part["form"], part["steps"], part["feed"]) == ("loop", 9, "argmax")
    assert (part["start_token"], part["end_token"], part["pad_token"]) == (1, 2, 0)


def test_an_unrolled_decoder_shows_its_forecast(tmp_path: Path) -> None:
    form = ("--form", "unrolled", "--steps", 3, "--feed", "teacher", "--allow-large")
    result = export(*DECODER, *form, "-o", tmp_path / "model.onnx")
    assert result.exit_code == 0, result.output
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines()[1:] if line.strip())
    assert rows["decoder"].strip() == "unrolled, 3 steps, teacher"
    assert "s to build, plan of" in rows["forecast"]


def test_a_large_unrolled_decoder_needs_its_flag(tmp_path: Path) -> None:
    error = refusal(*DECODER, "--form", "unrolled", "--steps", 4000, "-o", tmp_path / "model.onnx")
    assert "forecast" in error.got
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--form", "encoder"), "--form: got encoder for a model's factory, expected step, unrolled or loop"),
        (("--steps", 3), "--steps: got it for no --form, expected it for --form step, unrolled or loop"),
        (("--end-token", 3), "--end-token: got it for no --form"),
        (("--form", "step", "--stateful"), "--stateful: got it for --form step, expected it for no --form"),
        (("--form", "step", "--output-names", "a"), "--output-names: got it for --form step"),
        (("--form", "loop"), "steps: got None, expected a whole number from 1"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_an_option_that_does_not_go_with_the_form_is_refused(
    tmp_path: Path, flags: tuple[object, ...], message: str
) -> None:
    assert message in str(refusal(*DECODER, *flags, "-o", tmp_path / "model.onnx"))


@pytest.mark.parametrize("option", ["--module", "--nonlinearity"])
def test_a_layers_option_with_a_value_is_refused_for_a_factory(tmp_path: Path, option: str) -> None:
    value = {"--nonlinearity": "tanh"}.get(option, "3")
    error = refusal("factories.taggers:scorer", option, value, "-o", tmp_path / "model.onnx")
    assert str(error) == (f"{option}: got it for a model's factory, expected it for a checkpoint; leave {option} out")


@pytest.mark.parametrize("option", ["--batch-first", "--lengths"])
def test_a_layers_flag_is_refused_for_a_factory(tmp_path: Path, option: str) -> None:
    assert "got it for a model's factory" in str(
        refusal("factories.taggers:scorer", option, "-o", tmp_path / "model.onnx")
    )


@pytest.mark.parametrize(
    "flags",
    [
        ("--checkpoint", "best.pt"),
        ("--input", "x:float32:B"),
        ("--static",),
        ("--output-names", "a"),
        ("--feed", "argmax"),
        ("--start-token", "1"),
        ("--end-token", "1"),
        ("--pad-token", "1"),
        ("--allow-large",),
    ],
    ids=lambda flags: flags[0],
)
def test_a_factorys_option_is_refused_for_a_checkpoint(tmp_path: Path, flags: tuple[str, ...]) -> None:
    torch.save(torch.nn.GRU(2, 3).state_dict(), tmp_path / "best.pt")
    error = refusal(tmp_path / "best.pt", *flags, "-o", tmp_path / "model.onnx")
    assert str(error) == (
        f"{flags[0]}: got it for a checkpoint, expected it for package.module:factory; leave {flags[0]} out"
    )


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("factories.taggers:make_taggr",), FactoryError),
        (("factories.tagers:make",), FactoryError),
        (("factories.taggers:raises",), FactoryError),
        (("factories.taggers:gives_nothing",), FactoryError),
        (("factories.taggers:make_tagger",), OptionError),
        (("factories.taggers:make_tagger", "--input", "tokens"), OptionError),
        (("factories.taggers:scorer", "--checkpoint", "gone.pt"), CheckpointError),
        (("factories.taggers:scorer", "--output-names", "only_one"), OptionError),
        (("factories.taggers:scorer", "--opset", "3"), OptionError),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_call_writes_nothing(tmp_path: Path, arguments: tuple[str, ...], kind: type[RnnxError]) -> None:
    assert type(refusal(*arguments, "-o", tmp_path / "model.onnx")) is kind
    assert list(tmp_path.iterdir()) == []
    assert str(FIXTURES) not in sys.path


def test_the_folder_a_command_runs_in_is_importable_and_an_error_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "own_model.py").write_text("from torch import nn\n\ndef make():\n    raise KeyError('vocabulary')\n")
    rnnx = Path(sys.executable).parent / "rnnx"
    arguments = (rnnx, "export", "own_model:make", "-o", "model.onnx")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "rnnx: factory own_model:make: got KeyError: 'vocabulary' from calling it "
        f"({tmp_path / 'own_model.py'}, line 4: raise KeyError('vocabulary')), "
        "expected a factory that returns a model; "
        "mend this line; python -c 'import own_model; own_model.make()' shows the whole traceback\n"
    )


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        (("--constant", "start"), "'start'"),
        (("--constant", "start=1", "--constant", "start=2"), "start twice"),
        (("--state-dict", "ema"), "ema without a checkpoint"),
        (("--form", "step", "--deterministic"), "it for --form step"),
    ],
    ids=["no-value", "twice", "no-checkpoint", "decoder"],
)
def test_options_of_models_that_do_not_fit_are_refused(arguments: tuple[str, ...], got: str, tmp_path: Path) -> None:
    error = refusal("factories.taggers:make_tagger", *INPUTS, *arguments, "-o", tmp_path / "model.onnx")
    assert isinstance(error, OptionError)
    assert error.got == got


def test_a_constant_that_is_no_input_of_the_model_is_refused(tmp_path: Path) -> None:
    error = refusal("factories.taggers:make_tagger", *INPUTS, "--constant", "start=1", "-o", tmp_path / "model.onnx")
    assert error.subject == "--constant start"
    assert error.expected == "one of tokens, lengths"
