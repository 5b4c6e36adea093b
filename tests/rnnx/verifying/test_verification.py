import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

import rnnx
from rnnx.errors import CheckpointError, EngineError, GoldenError, OptionError, ReportError
from rnnx.parity.parity import ParityRow
from rnnx.reports.verification_report import VerificationReport
from rnnx.reports.writing import write_reports
from rnnx.runners import row_channel
from rnnx.runners.metered_candidate import MeteredCandidate
from rnnx.runners.verify_options import VerifyOptions
from rnnx.truths import reference
from rnnx.verifying import row_verification, verification
from rnnx.verifying.verification import verify
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights
from rnnx_runtime import BackendError, BackendUnavailable, Contract, ContractError, FileDamagedError, loading
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.files.model_file import ModelFile, read_onnx
from rnnx_runtime.files.seal import sealed
from rnnx_runtime.files.sidecar import Range, Sidecar, sidecar_path, text_from_sidecar

Array = NDArray[Any]

FORMS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "lstm-1": (lambda: nn.LSTM(5, 8), {}),
    "lstm-3-bi-lengths": (lambda: nn.LSTM(5, 8, 3, bidirectional=True), {"lengths": True}),
    "lstm-batch-first": (lambda: nn.LSTM(5, 8), {"batch_first": True}),
    "lstm-no-state-inputs": (lambda: nn.LSTM(5, 8), {"stateful": False}),
    "gru-2-bi": (lambda: nn.GRU(5, 8, 2, bidirectional=True), {}),
    "gru-lengths": (lambda: nn.GRU(5, 8), {"lengths": True}),
    "lstm-step": (lambda: nn.LSTMCell(5, 8), {}),
    "gru-step": (lambda: nn.GRUCell(5, 8), {}),
    "lstm-unrolled": (lambda: nn.LSTMCell(5, 8), {"form": "unrolled", "steps": 4}),
    "lstm-projected-2-bi-lengths": (lambda: nn.LSTM(5, 8, 2, bidirectional=True, proj_size=3), {"lengths": True}),
    "rnn-2-bi": (lambda: nn.RNN(5, 8, 2, bidirectional=True), {}),
    "rnn-step": (lambda: nn.RNNCell(5, 8), {}),
    "rnn-unrolled": (lambda: nn.RNNCell(5, 8), {"form": "unrolled", "steps": 4}),
    "gru-unrolled": (lambda: nn.GRUCell(5, 8), {"form": "unrolled", "steps": 4}),
}


def _export(folder: Path, source: nn.Module, **options: Any) -> tuple[Path, Path]:
    """A model and the checkpoint it was exported from."""
    folder.mkdir(exist_ok=True)
    checkpoint = folder / "weights.safetensors"
    save_file(source.state_dict(), checkpoint)
    rnnx.export(checkpoint, folder / "model.onnx", rnnx.ExportOptions(**options))
    return folder / "model.onnx", checkpoint


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A one-layer LSTM's model and checkpoint; tests leave them as they are."""
    torch.manual_seed(7)
    return _export(tmp_path_factory.mktemp("lstm"), nn.LSTM(5, 8))


def _row(report: VerificationReport, backend: str) -> ParityRow:
    (row,) = (row for row in report.parity.rows if row.backend == backend)
    return row


@pytest.mark.parametrize("truth", ["checkpoint", "golden"])
@pytest.mark.parametrize(("build", "options"), FORMS.values(), ids=FORMS)
def test_every_form_passes(tmp_path: Path, build: Callable[[], nn.Module], options: dict[str, Any], truth: str) -> None:
    torch.manual_seed(11)
    model, checkpoint = _export(tmp_path, build(), **options)
    given = checkpoint if truth == "checkpoint" else None
    report = verify(model, VerifyOptions(checkpoint=given, latency=False, require=("ort-cpu",)))
    assert report
    row = _row(report, "ort-cpu")
    assert [output.output for output in row.outputs] == [spec.name for spec in read_onnx(model).contract.outputs]
    assert row.cases == len(report.cases)
    assert {check.backend for check in report.checks} >= {"ort-cpu"}
    assert all(report.checks)
    assert all(report.drift)
    assert all(0 < output.max_error < 2e-6 and output.ratio is not None for output in row.outputs)


def test_a_relus_unbounded_values_pass_by_their_own_size(tmp_path: Path) -> None:
    torch.manual_seed(11)
    model, checkpoint = _export(tmp_path, nn.RNN(5, 8, 2, bidirectional=True), nonlinearity="relu")
    report = verify(model, VerifyOptions(checkpoint=checkpoint, latency=False, require=("ort-cpu",)))
    assert report
    assert all(report.checks)


def test_pytorchs_own_error_is_the_yardstick(lstm: tuple[Path, Path]) -> None:
    report = verify(lstm[0], VerifyOptions(checkpoint=lstm[1], latency=False))
    own = _row(report, "pytorch-cpu")
    assert own.status == "pass"
    assert [output.ratio for output in own.outputs] == pytest.approx([1, 1, 1])
    assert [output.float32_error for output in _row(report, "ort-cpu").outputs] == [
        output.float32_error for output in own.outputs
    ]
    assert report.yardstick == "PyTorch"
    assert "torch" in report.fingerprint.versions


def test_pytorch_rows_need_the_checkpoint(lstm: tuple[Path, Path]) -> None:
    report = verify(lstm[0], VerifyOptions(latency=False))
    for backend in ("pytorch-cpu", "pytorch-cuda"):
        assert _row(report, backend).status == "skip"
        assert "give them as the checkpoint" in _row(report, backend).reason
    assert "golden file model.golden.npz" in report.truth


def test_the_golden_file_needs_no_torch(lstm: tuple[Path, Path]) -> None:
    code = (
        "import sys; from rnnx.verifying.verification import verify; report = verify(sys.argv[1]);"
        "sys.exit(0 if report and not {'torch', 'onnx', 'safetensors'} & set(sys.modules) else 1)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(lstm[0])], check=False).returncode == 0


def test_backends_choose_the_rows(lstm: tuple[Path, Path]) -> None:
    report = verify(lstm[0], VerifyOptions(backends=("ort-cpu",), latency=False))
    assert [row.backend for row in report.parity.rows] == ["ort-cpu"]


def test_other_weights_are_refused(lstm: tuple[Path, Path], tmp_path: Path) -> None:
    save_file(nn.LSTM(5, 8).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other.safetensors: got weights .* give the checkpoint this model was"):
        verify(lstm[0], VerifyOptions(checkpoint=tmp_path / "other.safetensors"))


def test_a_checkpoint_without_the_layer_lists_its_own(lstm: tuple[Path, Path], tmp_path: Path) -> None:
    state = {f"decoder.{name}": value for name, value in nn.LSTM(5, 8).state_dict().items()}
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"got weights decoder with sha256 \w+…, expected weights with sha256"):
        verify(lstm[0], VerifyOptions(checkpoint=tmp_path / "other.safetensors"))


def test_the_same_weights_under_another_prefix_are_found(lstm: tuple[Path, Path], tmp_path: Path) -> None:
    state = {f"model.{name}": value for name, value in load_file(lstm[1]).items()}
    save_file(state | {"own.weight_ih": torch.zeros(3, 3)}, tmp_path / "wrapped.safetensors")
    assert verify(lstm[0], VerifyOptions(checkpoint=tmp_path / "wrapped.safetensors", latency=False))


def test_a_golden_file_that_was_edited_is_refused(tmp_path: Path) -> None:
    model, _ = _export(tmp_path, nn.LSTM(5, 8))
    golden = model.with_suffix(".golden.npz")
    arrays = dict(np.load(golden))
    np.savez(golden, **{key: value * 100 if "float32_error" in key else value for key, value in arrays.items()})
    with pytest.raises(GoldenError, match="got other bytes than were exported with the model"):
        verify(model, VerifyOptions(latency=False))


def test_a_sidecar_of_another_contract_is_refused(tmp_path: Path) -> None:
    model, _ = _export(tmp_path, nn.LSTM(5, 8))
    plan = _plan(model, SMALL)
    path = plan.with_name("model.plan.json")
    path.write_bytes(sealed(path.read_bytes().replace(b'"hidden_size": 8', b'"hidden_size": 9')))
    with pytest.raises(ContractError, match=r"expected .* c0 \(1, B, 9\), .*, as its own recurrence says"):
        verify(model, VerifyOptions(engine=plan, latency=False))


def test_a_latency_shape_beyond_memory_is_a_note_beside_the_verdict(lstm: tuple[Path, Path]) -> None:
    report = verify(lstm[0], VerifyOptions(sizes={"B": 10**15}))
    assert report
    assert report.latency is not None
    assert report.latency.notes[0].startswith("not measured: ")


def test_a_layer_among_others_is_found_by_its_prefix(tmp_path: Path) -> None:
    model = nn.ModuleDict({"encoder": nn.LSTM(5, 8), "decoder": nn.LSTMCell(5, 8)})
    path, checkpoint = _export(tmp_path, model, module="decoder")
    assert verify(path, VerifyOptions(checkpoint=checkpoint, latency=False))


def test_a_missing_golden_file_points_to_the_checkpoint(lstm: tuple[Path, Path], tmp_path: Path) -> None:
    alone = tmp_path / "model.onnx"
    alone.write_bytes(lstm[0].read_bytes())
    with pytest.raises(GoldenError, match="verify against the weights, as the checkpoint"):
        verify(alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backends": ("ort-gpu",)}, "'ort-gpu'"),
        ({"require": ("openvino",)}, "'openvino'"),
        ({"threads": 0}, "threads: got 0"),
        ({"threads": 100_000}, "threads: got 100000, expected 1 to 1024"),
        ({"case_timeout_s": float("inf")}, "case_timeout_s: got inf s"),
        ({"case_timeout_s": 0.0}, "case_timeout_s: got 0 s"),
        ({"matrix": "full"}, "matrix: got full without a checkpoint"),
        ({"sizes": {"N": 3}}, "N=3 for form encoder"),
        ({"sizes": {"T": 0}}, "T=0 for form encoder"),
    ],
    ids=[
        "backend",
        "require",
        "threads",
        "many-threads",
        "endless-timeout",
        "no-time",
        "full-golden",
        "unknown-dim",
        "zero-size",
    ],
)
def test_options_that_do_not_fit_are_refused(lstm: tuple[Path, Path], options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        verify(lstm[0], VerifyOptions(**options))


def test_a_plan_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="as the engine"):
        verify(tmp_path / "model.plan")


def test_a_missing_model_is_a_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(FileDamagedError):
        verify(tmp_path / "model.onnx")


# Rows without an engine of their own here run on a backend in NumPy, behind the runtime's own `load`.


class FakeBackend:
    """The reference formulas in float32, changed by `change`."""

    device = "fake"

    def __init__(self, contract: Contract, weights: RecurrentWeights, change: Callable[[Array], Array]) -> None:
        self._contract, self._weights, self._change = contract, weights, change

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        values = reference.evaluate(self._weights, self._contract.layer(), feeds, np.float32)
        return [self._change(values[spec.name]) for spec in self._contract.outputs]

    def close(self) -> None: ...


class Fakes:
    """What `open_backend` finds: by row, a change of the results or an error; other rows are unavailable."""

    def __init__(self, module: nn.Module) -> None:
        checkpoint = TorchCheckpoint("module", module.state_dict())
        self._weights = read_weights(checkpoint, choose_module(checkpoint, None))
        self.rows: dict[str, Callable[[Array], Array] | Exception] = {}

    def open_backend(self, name: str, model: ModelFile, options: SessionOptions) -> FakeBackend:
        row = self.rows.get(name, BackendUnavailable(f"backend {name}", got="no GPU", expected="one", remedy="buy it"))
        if isinstance(row, Exception):
            raise row
        return FakeBackend(model.contract, self._weights, row)


def _same(value: Array) -> Array:
    return value


@pytest.fixture
def faked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Fakes]:
    """A model, its checkpoint, and the fakes that every session of the test runs on."""
    torch.manual_seed(13)
    module = nn.GRU(5, 8)
    model, checkpoint = _export(tmp_path / "faked", module)
    fakes = Fakes(module)
    monkeypatch.setattr(loading, "open_backend", fakes.open_backend)
    monkeypatch.setattr(row_verification, "IsolatedCandidate", lambda opener, *_: MeteredCandidate(opener))
    return model, checkpoint, fakes


def _plan(model: Path, *profiles: dict[str, Range], tf32: bool = False, onnx_sha256: str | None = None) -> Path:
    """A plan that no engine would take, with a sidecar as rnnx build-engine writes it."""
    file = read_onnx(model)
    plan = model.with_suffix(".plan")
    plan.write_bytes(b"plan")
    sidecar = Sidecar(
        contract=file.contract,
        flavor="tensorrt-rtx",
        version="1.7",
        targets=("portable",),
        tf32=tf32,
        profiles=profiles,
        plan_sha256=hashlib.sha256(b"plan").hexdigest(),
        onnx_sha256=onnx_sha256 or hashlib.sha256(file.data).hexdigest(),
    )
    sidecar_path(plan).write_text(text_from_sidecar(sidecar), encoding="utf-8")
    return plan


WIDE = {"T": Range(min=1, opt=8, max=32), "B": Range(min=1, opt=2, max=8)}
SMALL = {"T": Range(min=1, opt=5, max=6), "B": Range(min=1, opt=2, max=3)}
FAR = {"T": Range(min=30, opt=33, max=40), "B": Range(min=9, opt=10, max=12)}


def test_a_skip_says_the_backends_own_reason(faked: tuple[Path, Path, Fakes]) -> None:
    model, _, fakes = faked
    fakes.rows["ort-cpu"] = _same
    report = verify(model, VerifyOptions(latency=False))
    assert _row(report, "ort-cuda").status == "skip"
    assert _row(report, "ort-cuda").reason == "backend ort-cuda: got no GPU, expected one; buy it"
    assert report


def test_require_turns_a_skip_into_a_failure(faked: tuple[Path, Path, Fakes]) -> None:
    model, _, fakes = faked
    fakes.rows["ort-cpu"] = _same
    report = verify(model, VerifyOptions(require=("ort-cuda",), latency=False))
    assert _row(report, "ort-cuda").status == "fail"
    assert "no GPU" in _row(report, "ort-cuda").reason
    assert not report


def test_nothing_is_verified_where_no_backend_ran(faked: tuple[Path, Path, Fakes]) -> None:
    model, checkpoint, _ = faked
    assert not verify(model, VerifyOptions(checkpoint=checkpoint, latency=False))


@pytest.mark.parametrize("number", [np.nan, np.inf], ids=["nan", "inf"])
def test_numbers_that_are_none_fail(faked: tuple[Path, Path, Fakes], number: float) -> None:
    model, _, fakes = faked
    fakes.rows["ort-cpu"] = lambda value: np.where(value == value.max(), np.float32(number), value)
    report = verify(model, VerifyOptions(latency=False))
    assert not report
    assert "NaN or Inf" in _row(report, "ort-cpu").reason


def test_a_backend_that_refuses_the_model_fails(faked: tuple[Path, Path, Fakes]) -> None:
    model, _, fakes = faked
    fakes.rows["ort-cpu"] = BackendError("ORT", got="an unknown operator", expected="a session", remedy="update")
    report = verify(model, VerifyOptions(latency=False))
    assert _row(report, "ort-cpu").status == "fail"
    assert "an unknown operator" in _row(report, "ort-cpu").reason


def test_an_engine_is_compared_within_its_profiles_and_the_rest_is_named(faked: tuple[Path, Path, Fakes]) -> None:
    model, _, fakes = faked
    fakes.rows["tensorrt-rtx"] = _same
    report = verify(model, VerifyOptions(engine=_plan(model, SMALL), latency=False))
    row = _row(report, "tensorrt-rtx")
    assert row.status == "pass"
    assert row.uncovered == ("T7 B3",)
    assert row.cases == len(report.cases) - 1


def test_an_engine_that_no_golden_case_fits_is_skipped(faked: tuple[Path, Path, Fakes]) -> None:
    model, _, fakes = faked
    fakes.rows |= {"tensorrt-rtx": _same, "ort-cpu": _same}
    plan = _plan(model, FAR)
    row = _row(verify(model, VerifyOptions(engine=plan, latency=False)), "tensorrt-rtx")
    assert row.status == "skip"
    assert "none within the engine's profile T=30:33:40,B=9:10:12" in row.reason
    required = verify(model, VerifyOptions(engine=plan, require=("tensorrt-rtx",), latency=False))
    assert _row(required, "tensorrt-rtx").status == "fail"


def test_with_the_checkpoint_a_profiles_own_shapes_are_cases(faked: tuple[Path, Path, Fakes]) -> None:
    model, checkpoint, fakes = faked
    fakes.rows["tensorrt-rtx"] = _same
    report = verify(model, VerifyOptions(engine=_plan(model, FAR), checkpoint=checkpoint, latency=False))
    assert _row(report, "tensorrt-rtx").status == "pass"
    assert {"T30 B9", "T33 B10"} <= set(report.cases)


def test_an_engine_of_another_model_is_refused(faked: tuple[Path, Path, Fakes]) -> None:
    model = faked[0]
    plan = _plan(model, WIDE, onnx_sha256="5" * 64)
    with pytest.raises(EngineError, match=r"model.plan: got one built from .*555…, expected .* which is model.onnx"):
        verify(model, VerifyOptions(engine=plan))


@pytest.mark.parametrize(("tf32", "status"), [(True, "pass"), (False, "fail")], ids=["tf32", "float32"])
def test_an_engine_is_judged_by_its_own_precision(faked: tuple[Path, Path, Fakes], tf32: bool, status: str) -> None:
    model, _, fakes = faked
    fakes.rows["tensorrt-rtx"] = lambda value: value + np.float32(2**-12)
    report = verify(model, VerifyOptions(engine=_plan(model, WIDE, tf32=tf32), latency=False))
    assert _row(report, "tensorrt-rtx").status == status
    assert ("tf32" in report.tolerances) is tf32


@pytest.mark.parametrize(
    ("row", "reason"),
    [("tensorrt", "an engine of tensorrt-rtx"), ("tensorrt-rtx", "no engine")],
    ids=["other-flavor", "no-engine"],
)
def test_a_tensorrt_row_without_its_engine_asks_for_it(faked: tuple[Path, Path, Fakes], row: str, reason: str) -> None:
    model = faked[0]
    engine = _plan(model, WIDE) if row == "tensorrt" else None
    found = _row(verify(model, VerifyOptions(engine=engine, backends=(row,), latency=False)), row)
    assert found.status == "skip"
    assert reason in found.reason
    assert "as the engine" in found.reason


def test_latency_is_measured_at_the_shape_asked_for(lstm: tuple[Path, Path]) -> None:
    before = torch.get_num_threads()
    options = VerifyOptions(checkpoint=lstm[1], sizes={"B": 3}, latency_seconds=0.01, threads=before + 1)
    latency = verify(lstm[0], options).latency
    assert latency is not None
    assert (latency.sizes, latency.threads) == ({"T": 50, "B": 3}, before + 1)
    assert {"pytorch-cpu", "ort-cpu"} <= {row.backend for row in latency.rows}
    assert all(0 < row.p50_ms.value <= row.p90_ms.value <= row.p99_ms.value <= row.max_ms for row in latency.rows)
    assert all(row.ratio is not None and row.ratio.value > 0 for row in latency.rows)
    assert torch.get_num_threads() == before


def test_latency_leaves_out_an_engine_that_does_not_cover_the_shape(faked: tuple[Path, Path, Fakes]) -> None:
    model, _, fakes = faked
    fakes.rows |= {"tensorrt-rtx": _same, "ort-cpu": _same}
    latency = verify(model, VerifyOptions(engine=_plan(model, SMALL), latency_seconds=0.01)).latency
    assert latency is not None
    assert [row.backend for row in latency.rows] == ["ort-cpu"]
    assert latency.notes == ("tensorrt-rtx: no profile covers this shape",)


def test_a_backend_that_fails_at_the_latency_shape_does_not_touch_the_verdict(faked: tuple[Path, Path, Fakes]) -> None:
    model, _, fakes = faked

    def fails_when_long(value: Array) -> Array:
        if value.shape[0] == 50:
            raise BackendError("run", got="out of memory", expected="a result", remedy="use a smaller batch")
        return value

    fakes.rows["ort-cpu"] = fails_when_long
    report = verify(model, VerifyOptions(latency_seconds=0.01))
    assert report
    assert report.latency is not None
    assert report.latency.rows == ()
    assert "out of memory" in report.latency.notes[0]


def test_a_row_that_failed_is_not_timed(faked: tuple[Path, Path, Fakes]) -> None:
    model, _, fakes = faked
    fakes.rows["ort-cpu"] = lambda value: value + np.float32(1)
    latency = verify(model, VerifyOptions(latency_seconds=0.01)).latency
    assert latency is not None
    assert latency.rows == ()


def test_a_failed_row_is_diagnosed_and_a_passing_one_checked(faked: tuple[Path, Path, Fakes]) -> None:
    model, checkpoint, fakes = faked
    fakes.rows["ort-cpu"] = lambda value: value + np.float32(1)
    options = VerifyOptions(checkpoint=checkpoint, latency=False, backends=("pytorch-cpu", "ort-cpu"))
    report = verify(model, options)
    assert [diagnosis.backend for diagnosis in report.diagnoses] == ["ort-cpu"]
    assert {check.backend for check in report.checks} == {"pytorch-cpu"}
    assert {curve.backend for curve in report.drift} == {"pytorch-cpu"}


def test_time_is_told_by_what_took_it(lstm: tuple[Path, Path]) -> None:
    report = verify(lstm[0], VerifyOptions(checkpoint=lstm[1], latency=False, backends=("pytorch-cpu", "ort-cpu")))
    assert list(report.seconds) == ["truth", "pytorch-cpu", "ort-cpu", "rnnx"]
    assert all(seconds > 0 for seconds in report.seconds.values())


def test_no_process_of_a_row_outlives_a_verification_that_fails(
    lstm: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[row_channel.RowChannel] = []

    def start() -> row_channel.RowChannel:
        started.append(row_channel.RowChannel())
        return started[-1]

    monkeypatch.setattr(verification, "RowChannel", start)
    alone = tmp_path / "model.onnx"
    alone.write_bytes(lstm[0].read_bytes())
    with pytest.raises(GoldenError):
        verify(alone, VerifyOptions(latency=False, backends=("ort-cpu",)))
    assert [channel._process.poll() is not None for channel in started] == [True]


@pytest.fixture
def earlier(lstm: tuple[Path, Path], tmp_path: Path) -> Path:
    """A report of the model as it passes."""
    report = verify(lstm[0], VerifyOptions(latency=False, backends=("ort-cpu",)))
    write_reports(report, {"json": tmp_path / "earlier.json"})
    return tmp_path / "earlier.json"


def test_nothing_is_worse_than_a_baseline_of_the_same_model(lstm: tuple[Path, Path], earlier: Path) -> None:
    report = verify(lstm[0], VerifyOptions(latency=False, backends=("ort-cpu",), baseline=earlier))
    assert report
    assert report.regressions == ()
    assert report.baseline == str(earlier)


def test_a_row_that_is_gone_since_the_baseline_fails(lstm: tuple[Path, Path], earlier: Path) -> None:
    options = VerifyOptions(latency=False, backends=("tensorrt-network", "tensorrt"), baseline=earlier)
    report = verify(lstm[0], options)
    assert not report
    assert [(one.backend, one.now) for one in report.regressions] == [("ort-cpu", "not run")]


def test_a_baseline_of_another_model_is_refused_before_anything_runs(earlier: Path, tmp_path: Path) -> None:
    model, _ = _export(tmp_path / "other", nn.GRU(5, 8))
    with pytest.raises(ReportError, match="expected one of weights with sha256"):
        verify(model, VerifyOptions(baseline=earlier))


def test_a_backend_that_gives_no_answer_fails_its_row_and_the_rest_goes_on(lstm: tuple[Path, Path]) -> None:
    """The limit is too short for any process to answer, so that every row behind one fails and PyTorch's passes."""
    options = VerifyOptions(
        checkpoint=lstm[1], latency=False, backends=("pytorch-cpu", "ort-cpu"), case_timeout_s=0.0001
    )
    report = verify(lstm[0], options)
    assert _row(report, "pytorch-cpu").status == "pass"
    assert _row(report, "ort-cpu").status == "fail"
    assert "no answer within 0.0001 s" in _row(report, "ort-cpu").reason


def test_the_shape_of_the_latency_is_verified_before_it_is_timed(lstm: tuple[Path, Path]) -> None:
    options = VerifyOptions(
        checkpoint=lstm[1], backends=("pytorch-cpu",), require=(), sizes={"T": 31, "B": 4}, latency_seconds=0.01
    )
    assert "T31 B4" in verify(lstm[0], options).cases


def test_a_parsed_network_whose_process_dies_is_no_skip(lstm: tuple[Path, Path]) -> None:
    report = verify(lstm[0], VerifyOptions(latency=False, case_timeout_s=0.0001))
    assert _row(report, "tensorrt-network").status == "fail"


def test_what_tensorrt_cannot_read_is_a_skip_unless_somebody_asked(
    faked: tuple[Path, Path, Fakes], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, fakes = faked
    fakes.rows["ort-cpu"] = _same

    def refuse(*_: object) -> None:
        raise BackendError("the importer", got="UNSUPPORTED_NODE", expected="a graph it reads", remedy="none")

    monkeypatch.setattr("rnnx.tensorrt_network.candidate.NetworkCandidate", refuse)
    assert _row(verify(model, VerifyOptions(latency=False)), "tensorrt-network").status == "skip"
    for options in ({"require": ("tensorrt-network",)}, {"backends": ("ort-cpu", "tensorrt-network")}):
        report = verify(model, VerifyOptions(latency=False, **options))
        assert _row(report, "tensorrt-network").status == "fail"
        assert "UNSUPPORTED_NODE" in _row(report, "tensorrt-network").reason
