import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from tests.rnnx.adopting.foreign_files import STATES, write
from torch import nn

import rnnx
from rnnx.cli import group, main
from rnnx.reports.bench_json import read_bench, text_from_bench
from rnnx.timing import benchmarking
from rnnx.timing.benchmarking import BenchOptions, bench
from rnnx.timing.figures import BenchReport, Estimate, LatencyRow, StartUpRow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model, its checkpoint and a second one's, and a report of it, `old.json`."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(29)
    for name in ("weights", "others"):
        save_file(nn.LSTM(5, 8).state_dict(), folder / f"{name}.safetensors")
        rnnx.export(folder / f"{name}.safetensors", folder / f"{name}.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnnx.timing.throughput.LARGEST", {"B": 4, "T": 4})
        patch.setattr("rnnx.timing.start_up.PROCESSES", 1)
        options = BenchOptions(checkpoint=folder / "weights.safetensors", seconds=0.05, stream_steps=100)
        (folder / "old.json").write_text(text_from_bench(bench(folder / "weights.onnx", options)))
    return folder / "weights.onnx"


@pytest.fixture
def measured(model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`measured(slower)`: every later bench gives the model's report, its ratios divided by `slower`."""
    report = read_bench(model.with_name("old.json"))

    def measured(slower: float = 1.0) -> None:
        rows = tuple(_slowed(row, slower) for row in report.latency.rows)
        result = replace(report, latency=replace(report.latency, rows=rows))
        monkeypatch.setattr(benchmarking, "_report", lambda *arguments: result)
        started = list(report.latency.start_up)
        monkeypatch.setattr(benchmarking, "measure_start_up", lambda requests, *, listener: started)

    return measured


def _slowed(row: LatencyRow, times: float) -> LatencyRow:
    """As measured on a machine that does nothing else."""
    ratio = Estimate(value=2 / times, low=1.98 / times, high=2.02 / times)
    return replace(row, ratio=ratio if row.backend == "ort-cpu" else row.ratio, conditions={})


def _bench(model: Path, *arguments: object) -> Result:
    weights = ["--checkpoint", str(model.with_suffix(".safetensors"))]
    return CliRunner().invoke(group, ["bench", str(model), *weights, *map(str, arguments)], catch_exceptions=False)


def test_every_kind_of_figure_has_its_table(model: Path, measured: Callable[..., None]) -> None:
    measured()
    result = _bench(model)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for start in (
        f"latency of {model} at T=50, B=1, 1 CPU thread, host to host",
        "ort-cpu on CPU: ",
        "start-up of a fresh process",
        "streaming 100 steps against frames of 10 ms",
        "steps/s against B, T=50",
        "steps/s against T, B=1",
        "machine: processor ",
        "versions: python ",
        "not timed ort-cuda: got ",
    ):
        assert any(line.startswith(start) for line in lines), start
    row = next(line.split() for line in lines if line.split()[:1] == ["ort-cpu"])
    assert row[-3:] == ["2.00", "[1.98,", "2.02]"]


def test_tables_fit_100_columns_without_colour(model: Path, measured: Callable[..., None]) -> None:
    measured(1.5)
    result = _bench(model, "--compare", model.with_name("old.json"))
    tables = [line.rstrip() for line in result.stdout.splitlines() if line.startswith("  ")]
    assert max(map(len, tables)) <= 100
    assert "\x1b" not in result.stdout


def test_the_report_is_written_and_can_be_compared_with(
    model: Path, measured: Callable[..., None], tmp_path: Path
) -> None:
    measured()
    assert _bench(model, "--json", tmp_path / "new.json").exit_code == 0
    assert json.loads((tmp_path / "new.json").read_text())["kind"] == "bench"
    result = _bench(model, "--compare", tmp_path / "new.json")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[-1].startswith("no change in ")
    assert lines[-2].startswith("rule: a change counts when the 95 % intervals")


def test_what_moved_is_the_last_line(model: Path, measured: Callable[..., None], tmp_path: Path) -> None:
    measured()
    _bench(model, "--json", tmp_path / "new.json")
    measured(1.5)
    result = _bench(model, "--compare", tmp_path / "new.json")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "changed: ort-cpu slower: p50 latency, × pytorch-cpu"


def test_a_bench_on_another_machine_says_so(model: Path, measured: Callable[..., None], tmp_path: Path) -> None:
    measured()
    _bench(model, "--json", tmp_path / "new.json")
    data = json.loads((tmp_path / "new.json").read_text())
    data["fingerprint"]["machine"]["processor"] = "another"
    (tmp_path / "new.json").write_text(json.dumps(data))
    out = _bench(model, "--compare", tmp_path / "new.json").stdout
    assert "note differs: processor: was another, is " in out
    assert "note absolute times and memory are not judged" in out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "got No such file or directory, expected a readable file"),
        ("{", "got no JSON"),
        ('{"schema": 2, "passed": true}', "got kind None, expected a report of rnnx bench"),
        ('{"schema": 0, "kind": "bench"}', "got schema 0, expected schema 1; measure again"),
    ],
    ids=["missing", "corrupt", "verification", "older"],
)
def test_a_bad_earlier_report_is_one_line_and_exit_code_2(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    said: str,
) -> None:
    if content is not None:
        (tmp_path / "old.json").write_text(content)
    _refused(monkeypatch, model, "--compare", tmp_path / "old.json")
    error = capsys.readouterr().err
    assert error.startswith(f"rnnx: report {tmp_path / 'old.json'}: {said}")
    assert error.count("\n") == 1


def test_another_models_report_is_one_line_and_exit_code_2(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _refused(monkeypatch, model.with_name("others.onnx"), "--compare", model.with_name("old.json"))
    error = capsys.readouterr().err
    assert error.startswith(f"rnnx: report of {model}: got weights with sha256 ")
    assert error.count("\n") == 1


def _refused(monkeypatch: pytest.MonkeyPatch, model: Path, *arguments: object) -> None:
    def never(*given: Any, **more: Any) -> list[StartUpRow]:
        raise AssertionError("nothing may run")

    monkeypatch.setattr(benchmarking, "measure_start_up", never)
    monkeypatch.setattr(sys, "argv", ["rnnx", "bench", str(model), *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2


def test_a_real_run_says_the_backends_it_could_not_time(model: Path) -> None:
    report: BenchReport = read_bench(model.with_name("old.json"))
    assert {row.backend for row in report.latency.rows} >= {"pytorch-cpu", "ort-cpu"}
    assert all(row.problem for row in report.latency.start_up if row.peak_mib == 0)


@pytest.mark.parametrize("option", ["--seconds", "--frame-ms", "--threads"])
def test_nothing_is_no_time_and_no_thread(model: Path, option: str) -> None:
    assert _bench(model, option, 0).exit_code == 2


def test_help_says_what_a_comparison_does() -> None:
    assert "beyond the noise" in CliRunner().invoke(group, ["bench", "--help"]).stdout


def test_another_exporters_file_is_timed_as_adopting_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnx.timing.throughput.LARGEST", {"B": 2, "T": 2})
    monkeypatch.setattr("rnnx.timing.start_up.PROCESSES", 1)
    theirs = write(tmp_path / "theirs.onnx", STATES)
    report = bench(theirs, BenchOptions(seconds=0.02, stream_steps=30, backends=("ort-cpu",)))
    assert report.model == str(theirs)
    assert report.notes[0].startswith("theirs.onnx is another exporter's: states h0 → hn")
    assert [row.steps for row in report.jitter] == [30]
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.onnx"]
