"""Real builds with TensorRT-RTX, which needs no GPU; `tensorrt` is built on a fake in test_plan_compiler.py."""

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tests.rnnx.adopting.foreign_files import PLAIN, STATES, write
from torch import nn

import rnnx
from rnnx.building.engine import build_engine
from rnnx.engines.engine_options import EngineOptions
from rnnx.engines.profiles import default_profile
from rnnx.errors import AdoptionError, EngineError, OptionError, OutputError
from rnnx.truths.golden import golden_path
from rnnx_runtime import FileDamagedError
from rnnx_runtime.files.model_file import read_plan
from rnnx_runtime.files.seal import BLANK, SEAL_KEY, seal_offset
from rnnx_runtime.files.sidecar import Range

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

FORMS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "lstm": (lambda: nn.LSTM(10, 20), {}),
    "lstm-2-bi-lengths": (lambda: nn.LSTM(10, 20, 2, bidirectional=True), {"lengths": True}),
    "lstm-3-zeros": (lambda: nn.LSTM(10, 20, 3), {"stateful": False}),
    "lstm-bi-plain-batch-first": (lambda: nn.LSTM(10, 20, bias=False, bidirectional=True), {"batch_first": True}),
    "gru-lengths": (lambda: nn.GRU(10, 20), {"lengths": True}),
    "gru-2-bi": (lambda: nn.GRU(10, 20, 2, bidirectional=True), {}),
    "gru-plain-zeros-lengths-batch-first": (
        lambda: nn.GRU(10, 20, bias=False),
        {"stateful": False, "lengths": True, "batch_first": True},
    ),
    "lstm-step": (lambda: nn.LSTMCell(10, 20), {}),
    "gru-step": (lambda: nn.GRUCell(10, 20), {}),
    "lstm-unrolled-1": (lambda: nn.LSTMCell(10, 20, bias=False), {"form": "unrolled", "steps": 1}),
    "lstm-unrolled-8": (lambda: nn.LSTMCell(10, 20), {"form": "unrolled", "steps": 8}),
    "lstm-projected-2-bi-lengths": (lambda: nn.LSTM(10, 20, 2, bidirectional=True, proj_size=7), {"lengths": True}),
    "lstm-projected-zeros-batch-first": (
        lambda: nn.LSTM(10, 20, proj_size=7, batch_first=True),
        {"stateful": False},
    ),
    "rnn-relu-2-bi-lengths": (lambda: nn.RNN(10, 20, 2, nonlinearity="relu", bidirectional=True), {"lengths": True}),
    "rnn-step": (lambda: nn.RNNCell(10, 20), {}),
    "rnn-unrolled-8": (lambda: nn.RNNCell(10, 20, nonlinearity="relu"), {"form": "unrolled", "steps": 8}),
    "gru-unrolled-8": (lambda: nn.GRUCell(10, 20), {"form": "unrolled", "steps": 8}),
}


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported one-layer LSTM encoder; tests leave it as it is."""
    return _export(tmp_path_factory.mktemp("lstm"), nn.LSTM(10, 20))


def _export(folder: Path, module: nn.Module, **options: Any) -> Path:
    torch.manual_seed(33)
    rnnx.export(module, folder / "model.onnx", rnnx.ExportOptions(**options))
    return folder / "model.onnx"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_built(tmp_path: Path, form: str) -> None:
    module, options = FORMS[form]
    source = _export(tmp_path, module(), **options)
    report = build_engine(source, tmp_path / "model.plan")
    plan = read_plan(report.path)
    assert plan.sidecar == report.sidecar
    assert plan.sidecar.onnx_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert plan.sidecar.profiles == (default_profile(plan.contract),)
    assert (plan.sidecar.flavor, plan.sidecar.targets, plan.sidecar.tf32) == ("tensorrt-rtx", ("portable",), True)
    assert golden_path(report.path).exists()
    assert (report.bytes, report.warnings) == (len(plan.data), ())
    assert report.layers > 0


def test_targets_profiles_and_tf32_are_in_the_sidecar(lstm: Path, tmp_path: Path) -> None:
    profiles = tuple({"B": Range(min=b, opt=b, max=b), "T": Range(min=1, opt=5, max=9)} for b in (1, 8))
    options = EngineOptions(profiles=profiles, targets=("8.9", "12.0"), tf32=False, optimization_level=0)
    report = build_engine(lstm, tmp_path / "model.plan", options)
    sidecar = read_plan(report.path).sidecar
    assert (sidecar.profiles, sidecar.targets, sidecar.tf32) == (profiles, ("8.9", "12.0"), False)
    assert not report.default_profiles


def test_an_older_plan_is_replaced_with_its_sidecar(lstm: Path, tmp_path: Path) -> None:
    for targets in (("8.0",), ("8.9",)):
        build_engine(lstm, tmp_path / "model.plan", EngineOptions(targets=targets))
    assert read_plan(tmp_path / "model.plan").sidecar.targets == ("8.9",)


def test_tensorrts_warning_of_sizes_it_cannot_hold_is_in_the_report(lstm: Path, tmp_path: Path) -> None:
    huge = Range(min=1, opt=8, max=2**31 - 1)
    (warning,) = build_engine(lstm, tmp_path / "model.plan", EngineOptions(profiles=({"B": huge, "T": huge},))).warnings
    assert "Volume exceeds limit" in warning


def test_what_tensorrt_says_is_the_error(lstm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnx.building.engine.completed", lambda options, *_: options)  # so that no profile is given
    with pytest.raises(EngineError, match=r"no optimization profile has been defined.*--profile"):
        build_engine(lstm, tmp_path / "model.plan")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps_before", [0, 40])
def test_an_interrupt_leaves_nothing_and_does_not_wait(
    lstm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_before: int
) -> None:
    def interrupted(*_: object) -> tuple[list[object], list[object]]:
        assert seen.wait(30)
        raise KeyboardInterrupt

    class Listener:
        steps = 0

        def stage_started(self, name: str, total: int, parent: str | None = None) -> None: ...

        def parts_done(self, name: str, count: int) -> None:
            self.steps += 1
            if self.steps > steps_before:
                seen.set()
                time.sleep(0.2)

        def stage_finished(self, name: str) -> None: ...

    seen, before = threading.Event(), threading.active_count()
    monkeypatch.setattr("rnnx.engines.interruption.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_engine(lstm, tmp_path / "model.plan", listener=Listener())
    assert list(tmp_path.iterdir()) == []
    deadline = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before, "TensorRT's thread ends by itself"


def test_the_output_must_be_a_plan(lstm: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"got model.engine, expected a name ending in .plan; use model.plan"):
        build_engine(lstm, tmp_path / "model.engine")


def test_a_missing_folder_is_refused_before_the_build(
    lstm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnnx.building.engine.compile_plan", None)
    with pytest.raises(OutputError, match="no such folder"):
        build_engine(lstm, tmp_path / "none" / "model.plan")


def test_another_exporters_file_is_built_as_adopting_reads_it(tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs.onnx", STATES)
    report, again = (build_engine(theirs, tmp_path / f"{name}.plan") for name in ("one", "two"))
    assert report.warnings[0].startswith("theirs.onnx is another exporter's: states h0 → hn (graph: LSTM")
    assert [pair.output for pair in report.sidecar.contract.states] == ["hn", "cn"]
    assert report.sidecar.onnx_sha256 == again.sidecar.onnx_sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("one.plan", "one.plan.json", "theirs.onnx", "two.plan", "two.plan.json")
    ]


def test_a_file_with_nothing_recurrent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdoptionError, match=r"theirs.onnx: got no recurrence.*1 Relu, 1 Add"):
        build_engine(write(tmp_path / "theirs.onnx", PLAIN), tmp_path / "model.plan")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.onnx"]


@pytest.mark.parametrize("damage", [lambda data: data[1:], lambda data: b"\0" + data[1:]], ids=["cut", "changed"])
def test_a_damaged_model_is_refused(lstm: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    (tmp_path / "model.onnx").write_bytes(damage(lstm.read_bytes()))
    with pytest.raises(FileDamagedError):
        build_engine(tmp_path / "model.onnx", tmp_path / "model.plan")


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileDamagedError, match="No such file"):
        build_engine(tmp_path / "none.onnx", tmp_path / "model.plan")


def test_a_sealed_model_with_a_trap_is_refused(lstm: Path, tmp_path: Path) -> None:
    model = onnx.load(lstm)
    (node,) = (node for node in model.graph.node if node.op_type == "LSTM")
    layout = next(attribute for attribute in node.attribute if attribute.name == "layout")
    layout.i = 1
    (tmp_path / "model.onnx").write_bytes(_sealed_again(model))
    with pytest.raises(EngineError, match=r"LSTM .*: got layout=1, which TensorRT ignores"):
        build_engine(tmp_path / "model.onnx", tmp_path / "model.plan")


def _sealed_again(model: onnx.ModelProto) -> bytes:
    (properties,) = model.metadata_props
    start = properties.value.index(SEAL_KEY) + len(SEAL_KEY) + len('": "')
    properties.value = properties.value[:start] + BLANK + properties.value[start + len(BLANK) :]
    data = model.SerializeToString(deterministic=True)
    offset, digest = seal_offset(data), hashlib.sha256(data).hexdigest().encode()
    return bytes(data[:offset] + digest + data[offset + len(digest) :])
