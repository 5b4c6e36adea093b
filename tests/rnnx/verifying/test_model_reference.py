"""Whole models verified against their own modules, live or made by a factory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import rnnx
from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.decoders.exporting import export_decoder
from rnnx.errors import CheckpointError, ExportError, FactoryError, OptionError
from rnnx.modules.factories import importable, make_model
from rnnx.modules.model_options import ModelOptions
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.verify_options import VerifyOptions
from rnnx.tracing.eager_candidate import EagerCandidate
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import read_model_golden
from rnnx_runtime.errors import BackendUnavailable
from rnnx_runtime.files.model_file import read_onnx

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

FIXTURES = Path(__file__).parents[2] / "fixtures"
TAGGER = "factories.taggers:make_tagger"
ROWS = ("pytorch-cpu", "ort-cpu")


@pytest.fixture(autouse=True)
def in_the_fixtures() -> Iterator[None]:
    with importable(FIXTURES):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tagger.onnx` with its `best.pt`; `scorer.onnx`, stateful; a decoder's `step.onnx` and `loop.onnx`."""
    folder = tmp_path_factory.mktemp("models")
    with importable(FIXTURES):
        tagger = make_model("factories.taggers:make_tagger_with_example")
        assert tagger.example_inputs is not None
        rnnx.export(tagger.module, folder / "tagger.onnx", example_inputs=tagger.example_inputs)
        torch.save(tagger.module.state_dict(), folder / "best.pt")
        scorer = make_model("factories.taggers:scorer").module
        example = (torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(20611)),)
        rnnx.export(scorer, folder / "scorer.onnx", ModelOptions(stateful=True), example_inputs=example)
        decoder = make_model("factories.decoders:Decoder").module.eval()
    step = (torch.tensor([1, 2]), torch.zeros(2, 8))
    export_decoder(decoder, step, folder / "step.onnx")
    export_decoder(decoder, step, folder / "loop.onnx", DecoderOptions(form="loop", steps=4, end_token=2))
    return folder


def verified(path: Path, **options: Any) -> VerificationReport:
    return rnnx.verify(path, VerifyOptions(**{"latency": False, "backends": ROWS, **options}))


def statuses(report: VerificationReport) -> dict[str, str]:
    return {row.backend: row.status for row in report.parity.rows}


def test_a_factory_with_its_checkpoint_gives_truth_and_rows(folder: Path) -> None:
    report = verified(folder / "tagger.onnx", model=TAGGER, checkpoint=folder / "best.pt", backends=())
    found = statuses(report)
    assert report
    assert (found["pytorch-cpu"], found["ort-cpu"]) == ("pass", "pass")
    assert found["pytorch-cuda"] in ("skip", "pass")
    assert report.matrix == "quick"
    assert report.truth == "module factories.taggers:make_tagger with best.pt, PyTorch in float64"
    assert report.cases[0] == "example"
    row = report.parity.rows[0]
    assert (row.device, row.precision, row.cases) == ("CPU", "float32", len(report.cases))
    assert row.outputs[0].max_error == row.outputs[0].float32_error > 0


@pytest.mark.parametrize(
    ("file", "model", "outputs"),
    [
        pytest.param("scorer.onnx", "factories.taggers:scorer", ["scores", "frames", "hn"], id="stateful"),
        pytest.param("step.onnx", "factories.decoders:Decoder", ["logits", "next_state"], id="decoder-step"),
    ],
)
def test_states_are_verified_too(folder: Path, file: str, model: str, outputs: list[str]) -> None:
    report = verified(folder / file, model=model)
    assert statuses(report) == dict.fromkeys(ROWS, "pass")
    assert [own.output for own in report.parity.rows[0].outputs] == outputs
    assert any("zero state" in name for name in report.cases)


def _scorer() -> nn.Module:
    return make_model("factories.taggers:scorer").module


def test_full_verifies_large_batches_and_long_times(folder: Path) -> None:
    report = verified(folder / "scorer.onnx", model=_scorer(), matrix="full")
    assert report.matrix == "full"
    assert {"T7 B64", "T200 B1"} <= {*report.cases}
    assert statuses(report) == dict.fromkeys(ROWS, "pass")


def test_latency_stands_beside_pytorchs_and_its_shape_is_verified(folder: Path) -> None:
    report = verified(folder / "scorer.onnx", model=_scorer(), latency=True, latency_seconds=0.05, sizes={"T": 11})
    assert report.latency is not None
    assert [row.backend for row in report.latency.rows] == [*ROWS]
    assert all(row.ratio is not None for row in report.latency.rows)
    assert report.latency.rows[0].conditions["threads"] == "1"
    assert "T11 B1" in report.cases


class Tampered(nn.Module):
    """The scorer, and in sequences of one size something else, which no golden file is like to see."""

    def __init__(self, scorer: Any, time: int) -> None:
        super().__init__()
        self.encoder: nn.Module = scorer.encoder
        self.head: nn.Module = scorer.head
        self._time = time

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        output, _ = self.encoder(x)
        scores: Tensor = self.head(output)
        return {"scores": scores + (x.size(1) == self._time), "frames": output}


def test_the_truth_is_the_modules_on_sizes_that_the_golden_file_has_not(folder: Path) -> None:
    report = verified(folder / "scorer.onnx", model=Tampered(_scorer(), 33).eval(), matrix="full")
    rows = {row.backend: row for row in report.parity.rows}
    assert rows["pytorch-cpu"].status == "pass"
    assert {(own.case, own.output) for own in rows["ort-cpu"].failures} == {("T33 B2", "scores")}


def test_inputs_are_none_of_the_golden_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mapping[str, Any]] = []
    outputs = EagerCandidate.outputs

    def recorded(self: Any, case: Any) -> Any:
        seen.append(case.feeds)
        return outputs(self, case)

    monkeypatch.setattr(EagerCandidate, "outputs", recorded)
    path = folder / "scorer.onnx"
    verified(path, model=_scorer(), backends=("pytorch-cpu",))
    golden = read_model_golden(golden_path(path), read_onnx(path).contract)
    theirs = [entry.case.feeds["x"] for entry in golden.entries]
    known = [any(np.array_equal(own["x"], other) for other in theirs) for own in seen]
    assert known[: len(theirs)] == [True] + [False] * (len(theirs) - 1)


def test_pytorch_alone_is_no_verification(folder: Path) -> None:
    report = verified(folder / "scorer.onnx", model=_scorer(), backends=("pytorch-cpu",))
    assert statuses(report) == {"pytorch-cpu": "pass"}
    assert not report


def test_a_missing_gpu_skips_the_row_and_fails_it_where_it_is_required(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu(_: object) -> str:
        raise BackendUnavailable("backend pytorch-cuda", got="no GPU", expected="one", remedy="use another host")

    monkeypatch.setattr("rnnx.tracing.eager_candidate.cuda_device", no_gpu)
    options = {"model": _scorer(), "backends": ("ort-cpu", "pytorch-cuda")}
    report = verified(folder / "scorer.onnx", **options)
    assert report
    assert statuses(report) == {"pytorch-cuda": "skip", "ort-cpu": "pass"}
    required = verified(folder / "scorer.onnx", **options, require=("pytorch-cuda",))
    assert not required
    assert statuses(required)["pytorch-cuda"] == "fail"


def test_threads_are_as_before_afterwards(folder: Path) -> None:
    torch.set_num_threads(2)
    verified(folder / "scorer.onnx", model=_scorer(), backends=("pytorch-cpu",), threads=1)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("file", "options", "kind", "said"),
    [
        pytest.param("tagger.onnx", {"model": TAGGER}, FactoryError, "as the checkpoint", id="untrained"),
        pytest.param("tagger.onnx", {"model": "factories.taggers:raises"}, FactoryError, "hidden is -1", id="raises"),
        pytest.param("tagger.onnx", {"model": "no_module:f"}, FactoryError, "no_module", id="no-module"),
        pytest.param("tagger.onnx", {"model": nn.GRU(5, 8)}, ExportError, "training mode", id="training"),
        pytest.param("scorer.onnx", {"model": nn.GRU(5, 8).eval()}, FactoryError, "model GRU", id="other-module"),
        pytest.param(
            "tagger.onnx", {"checkpoint": "best.pt"}, OptionError, r"add the model \(--model", id="checkpoint-alone"
        ),
        pytest.param("tagger.onnx", {"matrix": "full"}, OptionError, r"add the model \(--model", id="matrix-alone"),
        pytest.param(
            "scorer.onnx",
            {"model": nn.GRU(5, 8), "checkpoint": "best.pt"},
            OptionError,
            "beside a live module",
            id="checkpoint-of-a-live-module",
        ),
        pytest.param(
            "loop.onnx", {"model": "factories.decoders:Decoder"}, OptionError, "in form step", id="looping-decoder"
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(
    folder: Path, file: str, options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        verified(folder / file, **options)


def test_another_models_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    module = make_model(TAGGER).module
    torch.save(module.state_dict(), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt in factories\.taggers:make_tagger: got weights"):
        verified(folder / "tagger.onnx", model=TAGGER, checkpoint=tmp_path / "other.pt")
    torch.save(_scorer().state_dict(), tmp_path / "scorer.pt")
    with pytest.raises(CheckpointError, match="missing"):
        verified(folder / "tagger.onnx", model=TAGGER, checkpoint=tmp_path / "scorer.pt")


def test_a_layers_file_takes_no_module(tmp_path: Path) -> None:
    torch.manual_seed(20621)
    save_file(nn.GRU(5, 8).state_dict(), tmp_path / "weights.safetensors")
    rnnx.export(tmp_path / "weights.safetensors", tmp_path / "layer.onnx")
    with pytest.raises(OptionError, match=r"model: got it for a file that holds a single layer"):
        verified(tmp_path / "layer.onnx", model=TAGGER)
