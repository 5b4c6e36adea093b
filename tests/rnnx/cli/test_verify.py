import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch import nn

import rnnx
from rnnx.cli import group, main
from rnnx.errors import OutputError, ReportError
from rnnx.parity.tolerances import TOLERANCES
from rnnx.runners.metered_candidate import MeteredCandidate
from rnnx.verifying import row_verification
from rnnx_runtime import BackendUnavailable, loading
from rnnx_runtime.backends.table import open_backend


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model, its golden file beside it, and its checkpoint `weights.safetensors`."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(19)
    save_file(nn.LSTM(5, 8).state_dict(), folder / "weights.safetensors")
    rnnx.export(folder / "weights.safetensors", folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(autouse=True)
def _no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows on every host, all of them in this process, where they can be replaced."""

    def without_cuda(name: Any, file: Any, options: Any) -> Any:
        if name == "ort-cuda":
            raise BackendUnavailable("backend ort-cuda", got="no GPU", expected="one", remedy="use another host")
        return open_backend(name, file, options)

    monkeypatch.setattr(loading, "open_backend", without_cuda)
    monkeypatch.setattr(row_verification, "IsolatedCandidate", lambda opener, *_: MeteredCandidate(opener))


def _verify(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["verify", *map(str, arguments)], catch_exceptions=False)


def test_tables_verdict_and_footing_are_on_stdout(model: Path) -> None:
    result = _verify(model, "--checkpoint", model.with_name("weights.safetensors"), "--at", "T=5")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[-1] == "PASS: pytorch-cpu, ort-cpu, tensorrt-network compared; NOT verified: pytorch-cuda, ort-cuda"
    assert any(line.split()[:2] == ["ort-cpu", "output"] for line in lines)
    assert "skip ort-cuda: got no GPU, expected one; use another host" in lines
    assert any(line.startswith("truth: PyTorch in float64, weights of weights.safetensors;") for line in lines)
    assert any(line.startswith("limit, float32: the larger of 4 × the float32 error") for line in lines)
    assert any(line.startswith("versions: python") for line in lines)
    assert any("latency at T=5, B=1, 1 CPU thread" in line for line in lines)


def test_no_line_is_wider_than_100_columns(model: Path) -> None:
    result = _verify(model, "--no-latency")
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_a_required_backend_that_cannot_run_is_exit_code_1_with_the_table(model: Path) -> None:
    result = _verify(model, "--no-latency", "--require", "ort-cuda")
    assert result.exit_code == 1
    assert "fail ort-cuda: got no GPU" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("FAIL: ort-cpu, tensorrt-network compared; NOT verified: ")


def test_nothing_but_skips_is_exit_code_1(model: Path) -> None:
    result = _verify(model, "--no-latency", "--backend", "ort-cuda")
    assert result.exit_code == 1
    assert "no backend ran the model, so nothing was verified" in result.stdout


def test_json_holds_the_whole_report(model: Path, tmp_path: Path) -> None:
    result = _verify(model, "--no-latency", "--backend", "ort-cpu", "--json", tmp_path / "report.json")
    assert result.exit_code == 0
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert data["passed"] is True
    assert [output["output"] for output in data["parity"]["rows"][0]["outputs"]] == ["output", "hn", "cn"]
    assert list(tmp_path.iterdir()) == [tmp_path / "report.json"]


@pytest.mark.parametrize("text", ["T", "T=x", "T=5;B=1"])
def test_a_malformed_shape_is_exit_code_2(model: Path, text: str) -> None:
    result = _verify(model, "--at", text)
    assert result.exit_code == 2
    assert "expected sizes such as B=1,T=50" in result.stderr


def test_a_user_error_is_one_line_and_exit_code_2(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rnnx", "verify", str(model), "--at", "N=3"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("rnnx: --at: got N=3 for form encoder, expected T ≥ 1 and B ≥ 1")


def test_help_says_what_the_truth_is() -> None:
    assert "golden file" in _verify("--help").stdout


def test_every_report_is_written_and_nothing_else(model: Path, tmp_path: Path) -> None:
    paths = {kind: tmp_path / f"report.{kind}" for kind in ("json", "html", "junit")}
    options = [word for kind, path in paths.items() for word in (f"--{kind}", path)]
    assert _verify(model, "--no-latency", "--backend", "ort-cpu", *options).exit_code == 0
    assert "<!doctype html>" in paths["html"].read_text(encoding="utf-8").lower()
    assert "<testsuite" in paths["junit"].read_text(encoding="utf-8")
    assert sorted(tmp_path.iterdir()) == sorted(paths.values())


@pytest.mark.parametrize("kind", ["json", "html", "junit"])
def test_a_report_that_could_not_be_written_is_told_before_anything_runs(
    model: Path, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(OutputError, match=f"--{kind} .*got no such folder"):
        _verify(model, f"--{kind}", tmp_path / "missing" / "report")


def test_a_baseline_that_nothing_is_worse_than_passes(model: Path, tmp_path: Path) -> None:
    arguments = (model, "--no-latency", "--backend", "ort-cpu")
    assert _verify(*arguments, "--json", tmp_path / "earlier.json").exit_code == 0
    result = _verify(*arguments, "--baseline", tmp_path / "earlier.json")
    assert result.exit_code == 0
    assert "earlier.json" in result.stdout


def test_a_corrupt_baseline_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "earlier.json").write_text('{"kind": ')
    with pytest.raises(ReportError, match="got no JSON"):
        _verify(model, "--baseline", tmp_path / "earlier.json")


def test_tolerances_are_printed_with_their_reasons_and_without_a_model() -> None:
    result = _verify("--tolerances")
    assert result.exit_code == 0
    for precision in TOLERANCES:
        assert precision in result.stdout
    assert "√(T·L)" in result.stdout


@pytest.mark.parametrize("text", ["x", "=input", "x="])
def test_a_malformed_map_is_exit_code_2(model: Path, text: str) -> None:
    result = _verify(model, "--map", text)
    assert result.exit_code == 2
    assert "expected NAME=TENSOR" in result.stderr


def test_a_name_mapped_twice_is_exit_code_2(model: Path) -> None:
    result = _verify(model, "--map", "x=a", "--map", "x=b")
    assert result.exit_code == 2
    assert "got 'x' twice" in result.stderr


TORCH_ONNX = Path(__file__).parents[2] / "fixtures" / "torch_onnx"


def _by_position(path: Path) -> list[str]:
    """The map of a torch.onnx export, whose tensors stand in PyTorch's order."""
    graph = onnx.load(path).graph
    states = ("h0", "c0") if path.name.startswith("lstm") else ("h0",)
    pairs = [*zip(("x", *states), graph.input, strict=False), *zip(("output", "hn", "cn"), graph.output, strict=False)]
    return [word for ours, theirs in pairs for word in ("--map", f"{ours}={theirs.name}")]


@pytest.mark.parametrize("name", ["lstm-bi", "gru", "gru-bi"])
def test_the_frozen_time_of_a_dynamo_export_is_named(name: str) -> None:
    path, checkpoint = TORCH_ONNX / f"{name}.dynamo.onnx", TORCH_ONNX / f"{name}.safetensors"
    result = _verify(path, "--checkpoint", checkpoint, "--no-latency", "--backend", "ort-cpu", *_by_position(path))
    assert result.exit_code == 1
    assert "baked-time" in result.stdout
    assert "T=5" in result.stdout


@pytest.mark.parametrize("name", ["lstm-bi-states", "gru"])
def test_what_the_older_exporter_gets_right_passes(name: str) -> None:
    path = TORCH_ONNX / f"{name}.torchscript.onnx"
    checkpoint = TORCH_ONNX / f"{name.removesuffix('-states')}.safetensors"
    result = _verify(path, "--checkpoint", checkpoint, "--no-latency", "--backend", "ort-cpu", *_by_position(path))
    assert result.exit_code == 0, result.stdout


def test_a_reader_that_leaves_early_does_not_cost_the_report(model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from rnnx.cli import main; main()", "verify", str(model), "--no-latency"]
    arguments = ["--backend", "ort-cpu", "--json", str(tmp_path / "report.json")]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    process.wait()
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["passed"] is True


@pytest.mark.parametrize("name", ["model.onnx", "model.golden.npz", "weights.safetensors"])
def test_a_report_never_overwrites_what_is_read(model: Path, name: str) -> None:
    path = model.with_name(name)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="got a file that is read"):
        _verify(model, "--checkpoint", model.with_name("weights.safetensors"), "--json", path)
    assert path.read_bytes() == before


def test_two_reports_do_not_share_a_file(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="got the file of another report"):
        _verify(model, "--json", tmp_path / "report", "--junit", tmp_path / "report")
