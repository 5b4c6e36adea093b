"""An encoder and its decoder exported as a pair: the files, their contracts, and pairs that do not fit."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.decoders.small_pairs import (
    END,
    HIDDEN,
    START,
    STEPS,
    VOCABULARY,
    decoded,
    drawn,
    example,
    options,
    pair_of,
)
from torch import nn

import rnnx
from rnnx.decoders.pair_export import Seq2SeqExportReport, export_seq2seq
from rnnx.errors import ExportError, OptionError
from rnnx_runtime import load
from rnnx_runtime.seq2seq.manifest import read_manifest
from rnnx_runtime.seq2seq.pair import load_seq2seq


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Seq2SeqExportReport:
    path = tmp_path_factory.mktemp("pair") / "speller.seq2seq.json"
    return export_seq2seq(*pair_of("gru"), example(), path, options(loop=True, whole=True))


def test_every_file_lies_beside_the_manifest_with_its_golden_file(report: Seq2SeqExportReport) -> None:
    roles = ["decoder", "encoder", "loop", "whole"]
    expected = {f"speller.{role}.{suffix}" for role in roles for suffix in ("onnx", "golden.npz")}
    assert {path.name for path in report.path.parent.iterdir()} == {"speller.seq2seq.json", *expected}
    for file in report.decoders.values():
        assert file.path.is_file()
        assert file.golden.is_file()
    assert report.encoder.path.is_file()


def test_the_manifest_says_what_passes_over_and_pins_the_files(report: Seq2SeqExportReport) -> None:
    manifest = read_manifest(report.path)
    assert manifest == report.manifest
    assert manifest.passes == {"state": "state", "memory": "memory", "lengths": "lengths"}
    assert (manifest.start_token, manifest.end_token, manifest.pad_token, manifest.max_steps) == (START, END, 0, STEPS)
    for piece in (manifest.encoder, manifest.decoder, manifest.loop, manifest.whole):
        assert piece is not None
        assert hashlib.sha256((report.path.parent / piece.file).read_bytes()).hexdigest() == piece.sha256


def test_the_whole_takes_what_the_encoder_takes_and_gives_tokens(report: Seq2SeqExportReport) -> None:
    with load(report.decoders["whole"].path, "ort-cpu") as session:
        assert session.spec.inputs == report.encoder.contract.inputs
        assert [spec.name for spec in session.spec.outputs] == ["tokens", "output_lengths"]
        assert session.spec.lengths == ("lengths",)
        assert [part.name for part in session.spec.recurrent] == ["encoder.layer", "decoder.cell"]


@pytest.mark.tensorrt
@pytest.mark.parametrize("role", ["encoder", "decoder", "loop", "whole"])
def test_every_piece_builds_and_verifies(report: Seq2SeqExportReport, role: str, tmp_path: Path) -> None:
    path = report.encoder.path if role == "encoder" else report.decoders[role].path
    engine = rnnx.build_engine(path, tmp_path / f"{role}.plan", rnnx.EngineOptions(tf32=False))
    assert engine.bytes > 0
    rows = ("ort-cpu", "tensorrt-network")
    verified = rnnx.verify(path, rnnx.VerifyOptions(backends=rows, latency=False))
    assert [row.status for row in verified.parity.rows] == ["pass", "pass"]


class Pieces:
    """Encoders and decoders that do not fit each other."""

    class Alone(nn.Module):
        """Gives its memory alone, and no state."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(5, HIDDEN)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            memory: torch.Tensor = self.layer(x)[0]
            return memory

    class Many(nn.Module):
        """Gives more than the decoder takes."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(5, 2 * HIDDEN)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            memory, last = self.layer(x)
            return last[0], memory, memory, memory

    class Short(Many):
        """Gives a state and nothing to attend to."""

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (super().forward(x)[0],)

    class Wide(Many):
        """Gives a state of another width."""

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            state, memory, *_ = super().forward(x)
            return torch.cat([state, state], -1), memory, torch.full((x.shape[1],), 2)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Pieces.Alone, "got one Tensor from the encoder"),
        (Pieces.Many, "got 4 results from the encoder for 3 arguments after the token"),
        (Pieces.Short, "got nothing for the decoder's 'memory'"),
        (Pieces.Wide, r"the decoder called on what the encoder gives: got RuntimeError"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(encoder: type[nn.Module], message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.seq2seq.json"
    with pytest.raises(OptionError, match=message):
        export_seq2seq(encoder().eval(), pair_of("gru")[1], (torch.randn(4, 3, 5),), path, options())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"start_token": VOCABULARY}, "start_token: got 6", id="start-beyond"),
        pytest.param({"end_token": VOCABULARY}, "end_token: got 6, expected an index within 6 logits", id="end-beyond"),
        pytest.param({"end_token": None}, "end_token: got None", id="no-end"),
        pytest.param({"max_steps": 0}, "steps: got 0", id="no-steps"),
    ],
)
def test_tokens_that_no_pair_has_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        export_seq2seq(*pair_of("gru"), example(), tmp_path / "p.seq2seq.json", replace(options(), **changes))


def test_a_manifest_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"got p\.json, expected a name ending in \.seq2seq\.json"):
        export_seq2seq(*pair_of("gru"), example(), tmp_path / "p.json", options())


def test_an_encoder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    letters, _ = example()
    with pytest.raises(ExportError, match="example inputs of Encoder"):
        export_seq2seq(*pair_of("gru"), (letters, torch.tensor([5, 0, 4])), tmp_path / "p.seq2seq.json", options())
    assert not list(tmp_path.iterdir())


def test_an_encoder_may_call_its_input_as_the_whole_calls_its_tokens(tmp_path: Path) -> None:
    class Worded(nn.Module):
        def __init__(self, encoder: nn.Module) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> Any:
            return self.encoder(tokens, lengths)

    encoder, decoder = pair_of("gru")
    report = export_seq2seq(
        Worded(encoder).eval(), decoder, example(), tmp_path / "p.seq2seq.json", options(loop=True, whole=True)
    )
    whole = report.decoders["whole"].contract
    assert [spec.name for spec in whole.inputs] == ["tokens", "lengths"]
    assert [spec.name for spec in whole.outputs] == ["tokens_out", "output_lengths"]
    with load_seq2seq(report.path) as one, load_seq2seq(report.path, way="step") as other:
        inputs = dict(zip(("tokens", "lengths"), (value.numpy() for value in drawn(6, 1)), strict=True))
        assert one.generate(inputs) == other.generate(inputs) == decoded((encoder, decoder), *drawn(6, 1))
