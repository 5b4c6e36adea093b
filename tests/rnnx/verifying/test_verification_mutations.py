"""What an exporter could get wrong, done to a model on purpose: each is caught and named, and the whole twin passes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from tests.mutants.catalogue import MUTANTS
from tests.mutants.edits import weights
from tests.mutants.mutant import Mutant, Source
from tests.mutants.proof import SoundModel, export_source, missed, verdict_of, write_sealed
from tests.mutants.score import Scored, lines_of
from tests.mutants.sources import GRU_STEP, LSTM_2_BI, SOURCES

import rnnx
from rnnx.diagnosis.causes import KNOWN_CAUSES

SoundModels = Callable[[Source], SoundModel]

NOT_OF_ONNX_RUNTIME = {"float64-as-float32"}
"""Causes that no graph has on ONNX Runtime; `tests/rnnx/diagnosis` makes them of TensorRT's parsed network."""


@pytest.fixture(scope="module")
def sound_models(tmp_path_factory: pytest.TempPathFactory) -> SoundModels:
    """`sound_models(source)`: each exported, and its truth computed, once."""
    made: dict[str, SoundModel] = {}

    def sound_model(source: Source) -> SoundModel:
        if source.name not in made:
            made[source.name] = export_source(source, tmp_path_factory.mktemp(source.name))
        return made[source.name]

    return sound_model


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_model_is_caught_and_its_cause_named(
    mutant: Mutant, sound_models: SoundModels, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    verdict = verdict_of(
        sound_models(mutant.source), mutant.edit, tmp_path / f"{mutant.name}.onnx", foreign=mutant.foreign
    )
    caught, miss = verdict.row.status == "fail", missed(mutant, verdict)
    named = verdict.diagnosis.cause if verdict.diagnosis else None
    scored = Scored(name=mutant.name, cause=mutant.cause, caught=caught, named=named, right=caught and not miss)
    record_property(*scored.as_property())
    assert caught
    assert not miss


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_twin_left_whole_passes(source: Source, sound_models: SoundModels, tmp_path: Path) -> None:
    assert verdict_of(sound_models(source), lambda model: None, tmp_path / "twin.onnx").row.status == "pass"


def test_every_known_cause_has_mutants_and_no_two_are_one() -> None:
    assert {mutant.cause for mutant in MUTANTS} == set(KNOWN_CAUSES) - NOT_OF_ONNX_RUNTIME
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40


@pytest.mark.parametrize(
    ("name", "cause"),
    [("lstm-2-bi-backward-padding", "backward-padding"), ("gru-step-reset-before", "reset-gate-before")],
)
def test_verify_itself_says_so(name: str, cause: str, tmp_path: Path) -> None:
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    sound = export_source(mutant.source, tmp_path)
    mutant.edit(sound.proto)
    write_sealed(sound.proto, tmp_path / "model.onnx")
    report = _verified(tmp_path)
    assert not report
    assert [(one.backend, one.cause) for one in report.diagnoses] == [("ort-cpu", cause)]


@pytest.mark.parametrize("source", [LSTM_2_BI, GRU_STEP], ids=lambda source: source.name)
def test_verify_itself_passes_the_twin(source: Source, tmp_path: Path) -> None:
    export_source(source, tmp_path)
    report = _verified(tmp_path)
    assert report
    assert report.diagnoses == ()


def _verified(folder: Path) -> rnnx.VerificationReport:
    options = rnnx.VerifyOptions(checkpoint=folder / "weights.safetensors", backends=("ort-cpu",), latency=False)
    return rnnx.verify(folder / "model.onnx", options)


def test_the_score_counts_what_was_caught_and_what_was_named() -> None:
    whole = Scored(name="a", cause="clip", caught=True, named="clip", right=True)
    wrong = Scored(name="b", cause="clip", caught=True, named="tf32", right=False)
    lost = Scored(name="c", cause="clip", caught=False, named=None, right=False)
    *listed, score = lines_of([whole, wrong, lost])
    assert score == "caught 2 of 3, named 1 of 3"
    assert [line.split()[0] for line in listed] == ["a", "b", "c"]
    assert listed[1].endswith("WRONG")
    assert "NOT CAUGHT" in listed[2]


def test_an_edit_that_finds_nothing_to_edit_fails() -> None:
    with pytest.raises(AssertionError, match="no_such_weight"):
        weights("no_such_weight", lambda value: value)(onnx.ModelProto())
