import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.whole_model import EagerAdder, write_adder
from torch import Tensor, nn

import rnnx
from rnnx.errors import FactoryError, GoldenError, OptionError, ReportError
from rnnx.timing import benchmarking
from rnnx.timing.benchmarking import BenchOptions, bench
from rnnx.timing.figures import BenchReport, StartUpRow
from rnnx_runtime import BackendUnavailable

SHORT: dict[str, Any] = {"seconds": 0.02, "stream_steps": 50}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported LSTM, its checkpoint `weights.safetensors` beside it."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(23)
    save_file(nn.LSTM(5, 8).state_dict(), folder / "weights.safetensors")
    rnnx.export(folder / "weights.safetensors", folder / "model.onnx", rnnx.ExportOptions(lengths=True))
    return folder / "model.onnx"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No processes and short sweeps; the list is of the rows that were started up. `ort-cuda` is never here."""
    started: list[str] = []

    def start_up(requests: Sequence[Any], *, listener: Any) -> list[StartUpRow]:
        started.extend(request["row"] for request in requests)
        return [_started(request["row"], "no GPU" if "cuda" in request["row"] else "") for request in requests]

    monkeypatch.setattr(benchmarking, "measure_start_up", start_up)
    monkeypatch.setattr("rnnx.timing.throughput.LARGEST", {"B": 2, "T": 2})
    return started


def _started(row: str, problem: str = "") -> StartUpRow:
    return StartUpRow(backend=row, import_s=1.0, load_s=1.0, first_call_ms=1.0, peak_mib=1.0, problem=problem)


def _bench(model: Path, *, checkpoint: bool = True, before: BenchReport | None = None, **options: Any) -> BenchReport:
    weights = model.with_name("weights.safetensors") if checkpoint else None
    return bench(model, BenchOptions(checkpoint=weights, **SHORT | options), before=before)


def test_every_backend_that_runs_here_has_every_kind_of_figure(model: Path, quick: list[str]) -> None:
    report = _bench(model, sizes={"T": 4})
    runs = ["pytorch-cpu", "ort-cpu"]
    assert quick == ["pytorch-cpu", "pytorch-cuda", "ort-cpu", "ort-cuda"]
    assert [row.backend for row in report.latency.rows] == runs
    assert [row.backend for row in report.jitter] == runs
    assert {(point.backend, point.sweep) for point in report.throughput} == {(row, dim) for row in runs for dim in "BT"}
    assert {row.backend: row.problem for row in report.latency.start_up}["ort-cuda"] == "no GPU"
    assert report.latency.sizes == {"T": 4, "B": 1}
    assert report.latency.rows[1].ratio is not None
    assert set(report.latency.rows[1].conditions) == {"threads", "precision", "other work"}
    assert {"torch", "onnxruntime"} <= set(report.fingerprint.versions)
    assert report.fingerprint.machine["processor"]
    assert (len(report.model_sha256), len(report.weights_sha256)) == (64, 64)
    assert report.notes == ()


def test_without_a_checkpoint_pytorch_is_not_asked_for(model: Path, quick: list[str]) -> None:
    report = _bench(model, checkpoint=False)
    assert quick == ["ort-cpu", "ort-cuda"]
    assert report.latency.rows[0].ratio is None


def test_only_the_rows_that_were_named_run(model: Path, quick: list[str]) -> None:
    assert [row.backend for row in _bench(model, backends=("ort-cpu",)).latency.rows] == ["ort-cpu"]
    assert quick == ["ort-cpu"]


def test_a_backend_whose_process_crashed_is_not_run_here(
    model: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [_started("pytorch-cpu", "the process died of SIGSEGV"), _started("ort-cpu")]
    monkeypatch.setattr(benchmarking, "measure_start_up", lambda requests, *, listener: rows)
    report = _bench(model, backends=("pytorch-cpu", "ort-cpu"))
    assert [row.backend for row in report.latency.rows] == ["ort-cpu"]
    assert report.latency.start_up[0].problem == "the process died of SIGSEGV"


def test_no_backend_that_runs_is_an_error_with_every_reason(model: Path, quick: list[str]) -> None:
    with pytest.raises(BackendUnavailable, match="bench: got no GPU, expected a backend that runs here"):
        _bench(model, backends=("ort-cuda",))


def test_a_bidirectional_encoder_does_not_stream_and_says_why(tmp_path: Path, quick: list[str]) -> None:
    path = rnnx.export(nn.GRU(5, 8, bidirectional=True), tmp_path / "gru.onnx").path
    report = bench(path, BenchOptions(**SHORT))
    assert report.jitter == ()
    assert any(note.startswith("no streaming: a bidirectional encoder") for note in report.notes)


def test_a_step_is_swept_by_batch_alone(tmp_path: Path, quick: list[str]) -> None:
    path = rnnx.export(nn.GRUCell(5, 8), tmp_path / "cell.onnx").path
    report = bench(path, BenchOptions(**SHORT))
    assert report.latency.sizes == {"B": 1}
    assert {point.sweep for point in report.throughput} == {"B"}
    assert report.jitter[0].steps == 50


def test_pytorch_runs_on_as_many_threads_as_said_and_has_its_own_back_after(
    model: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, report = set[int](), benchmarking._report

    def watched(*arguments: Any) -> BenchReport:
        seen.add(torch.get_num_threads())
        return report(*arguments)

    monkeypatch.setattr(benchmarking, "_report", watched)
    before = torch.get_num_threads()
    _bench(model, threads=2)
    assert seen == {2}
    assert torch.get_num_threads() == before


def test_an_earlier_report_of_another_shape_is_refused_before_anything_runs(model: Path, quick: list[str]) -> None:
    before = _bench(model, checkpoint=False, sizes={"T": 4})
    quick.clear()
    with pytest.raises(ReportError, match="got shape B=1, T=4, expected shape B=1, T=5"):
        _bench(model, checkpoint=False, sizes={"T": 5}, before=before)
    assert quick == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backends": ("tensorrt-network",)}, "backends: got 'tensorrt-network', expected pytorch-cpu"),
        ({"threads": 0}, "threads: got 0, expected ≥ 1"),
        ({"stream_steps": 0}, "stream_steps: got 0, expected ≥ 1"),
        ({"seconds": 0.0}, "seconds: got 0, expected a time above 0"),
        ({"seconds": float("nan")}, "seconds: got nan"),
        ({"frame_ms": float("inf")}, "frame_ms: got inf"),
        ({"sizes": {"N": 3}}, "sizes: got N=3 for form encoder"),
    ],
    ids=["row", "threads", "steps", "seconds", "nan", "inf", "shape"],
)
def test_an_option_that_does_not_fit_is_refused(
    model: Path, quick: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        _bench(model, checkpoint=False, **options)
    assert quick == []


def test_a_whole_model_is_timed_at_every_size_that_it_leaves_free(tmp_path: Path) -> None:
    write_adder(tmp_path / "model.onnx", EagerAdder())
    report = bench(tmp_path / "model.onnx", BenchOptions(**SHORT, backends=("ort-cpu",), sizes={"T": 6}))
    assert report.latency.sizes == {"B": 1, "T": 6}
    assert [row.backend for row in report.latency.rows] == ["ort-cpu"]
    assert not report.latency.start_up[0].problem
    assert (report.jitter[0].steps, {point.sweep for point in report.throughput}) == (50, {"B", "T"})


class Both(nn.Module):
    """One input and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        output, last = self.gru(x)
        return output, last


class Speller(nn.Module):
    """A decoder's step."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell, self.head = nn.Embedding(11, 4), nn.GRUCell(4, 6), nn.Linear(6, 11)

    def forward(self, token: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = self.cell(self.embedding(token), state)
        return self.head(state), state


LOOP = rnnx.DecoderOptions(form="loop", steps=4, start_token=1, end_token=2)


@pytest.mark.parametrize(
    ("module", "example", "options"),
    [
        pytest.param(Both(), (torch.randn(4, 2, 5),), None, id="several-outputs"),
        pytest.param(Speller(), (torch.tensor([1, 2]), torch.zeros(2, 6)), LOOP, id="a-loop-with-states-alone"),
    ],
)
def test_a_fresh_process_calls_a_model_as_its_contract_says(
    module: nn.Module, example: Any, options: Any, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    rnnx.export(module.eval(), path, options, example_inputs=example)
    report = bench(path, BenchOptions(**SHORT, backends=("ort-cpu",)))
    assert [row.problem for row in report.latency.start_up] == [""]
    assert [row.backend for row in report.latency.rows] == ["ort-cpu"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"checkpoint": "best.pt"}, "checkpoint: got it for a whole model", id="checkpoint"),
        pytest.param({"backends": ("pytorch-cpu",)}, "backend pytorch-cpu: got it for a whole model", id="pytorch"),
        pytest.param({"backends": "ort-cpu"}, "backends: got 'ort-cpu'", id="one-name"),
    ],
)
def test_what_a_whole_model_has_not_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    write_adder(tmp_path / "model.onnx", EagerAdder())
    with pytest.raises(OptionError, match=said):
        bench(tmp_path / "model.onnx", BenchOptions(**SHORT, **options))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Both]:
    """A whole model's file and its module."""
    torch.manual_seed(31)
    module = Both().eval()
    path = tmp_path_factory.mktemp("both") / "model.onnx"
    options = rnnx.ModelOptions(stateful=True)
    return rnnx.export(module, path, options, example_inputs=(torch.randn(4, 2, 5),)).path, module


def test_a_whole_models_module_stands_beside_its_backends(both: tuple[Path, Both], quick: list[str]) -> None:
    path, module = both
    report = bench(path, BenchOptions(**SHORT, model=module, backends=("pytorch-cpu", "ort-cpu")))
    assert quick == ["ort-cpu"]
    assert [row.backend for row in report.latency.rows] == ["pytorch-cpu", "ort-cpu"]
    assert [row.backend for row in report.jitter] == ["pytorch-cpu", "ort-cpu"]
    assert report.latency.rows[1].ratio is not None
    assert {point.backend for point in report.throughput} == {"pytorch-cpu", "ort-cpu"}


def test_a_row_of_pytorch_that_is_not_here_says_why(
    both: tuple[Path, Both], quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu(_: object) -> str:
        raise BackendUnavailable("backend pytorch-cuda", got="no GPU", expected="one", remedy="use another host")

    monkeypatch.setattr("rnnx.tracing.eager_candidate.cuda_device", no_gpu)
    report = bench(both[0], BenchOptions(**SHORT, model=both[1], backends=("pytorch-cuda", "ort-cpu")))
    assert [row.backend for row in report.latency.rows] == ["ort-cpu"]
    assert "got no GPU" in {row.backend: row.problem for row in report.latency.start_up}["pytorch-cuda"]


def test_without_a_golden_file_the_modules_example_says_what_inputs_are_like(
    both: tuple[Path, Both], quick: list[str], tmp_path: Path
) -> None:
    path = Path(shutil.copy(both[0], tmp_path))
    with pytest.raises(FactoryError, match=r"the example inputs of Both: got none, expected x"):
        bench(path, BenchOptions(**SHORT, model=both[1]))
    module = Both().eval()
    module.load_state_dict(both[1].state_dict())
    module.example_inputs = (torch.randn(4, 2, 5),)  # type: ignore[assignment]
    report = bench(path, BenchOptions(**SHORT, model=module, backends=("pytorch-cpu", "ort-cpu")))
    assert [row.backend for row in report.latency.rows] == ["pytorch-cpu", "ort-cpu"]


def test_a_module_that_was_not_exported_is_refused(both: tuple[Path, Both], quick: list[str]) -> None:
    with pytest.raises(FactoryError, match="model Both: got weights with sha256"):
        bench(both[0], BenchOptions(**SHORT, model=Both().eval()))


def test_a_layers_file_takes_no_module(model: Path, quick: list[str]) -> None:
    with pytest.raises(OptionError, match="model: got it for a file that holds a single layer"):
        bench(model, BenchOptions(**SHORT, model=Both()))


def test_options_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="got VerifyOptions, expected BenchOptions"):
        bench(tmp_path / "model.onnx", rnnx.VerifyOptions())  # type: ignore[arg-type]


def test_a_whole_model_without_its_golden_file_is_refused(tmp_path: Path) -> None:
    write_adder(tmp_path / "model.onnx")
    with pytest.raises(GoldenError, match="no such file"):
        bench(tmp_path / "model.onnx", BenchOptions(**SHORT))
