"""The grapheme-to-phoneme models: their data, their training, and that the shipped weights are what the cards say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import g2p.training
from g2p.batches import training_batches, words_by_length
from g2p.dictionary import END, LETTERS, PHONEMES, START, Entry, entries, split_of
from g2p.evaluate import load
from g2p.network import MAX_PHONEMES, Speller, SpellerEncoder, SpellerStep
from g2p.scoring import score
from g2p.training import Recipe, train
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.recurrence import survey_recurrent_modules

MODELS = Path(__file__).parents[2] / "models"
KINDS = ("lstm", "gru")
NAMES = ("g2p-lstm", "g2p-gru")


@pytest.fixture(scope="module")
def test_words() -> list[Entry]:
    return entries("test")


def test_split_depends_on_the_spelling_alone() -> None:
    words = [f"word{'s' * n}" for n in range(3000)]
    shares = [sum(split_of(word) == split for word in words) / len(words) for split in ("train", "validation", "test")]
    assert shares == pytest.approx([0.88, 0.02, 0.10], abs=0.02)


def test_no_word_is_in_two_splits(test_words: list[Entry]) -> None:
    spelled = [entry.word for entry in test_words]
    assert len(set(spelled)) == len(spelled) > 12_000
    assert not set(spelled) & {entry.word for entry in entries("validation")}


def test_batches_hold_words_of_one_length_and_frame_phonemes() -> None:
    word = Entry(word="ab", letters=(1, 2), pronunciations=((5, 6, 7), (5,)))
    (batch,) = training_batches([word], size=8, seed=0)
    assert batch.letters.shape == (2, 2)
    assert batch.inputs[0].tolist() == [START, START]
    assert sorted(batch.targets.T.tolist()) == [[5, END, 0, 0], [5, 6, 7, END]]


def test_words_by_length_keeps_every_word_once(test_words: list[Entry]) -> None:
    grouped = [entry.word for group, _ in words_by_length(test_words[:500], 64) for entry in group]
    assert sorted(grouped) == [entry.word for entry in test_words[:500]]


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_decoding_stops_before_end(kind: g2p.network.Kind) -> None:
    torch.manual_seed(0)
    network = Speller(kind, embedding=4, hidden=6, dropout=0.0).eval()
    spoken = network.pronounce(torch.randint(1, len(LETTERS), (5, 3)))
    assert len(spoken) == 3
    assert all(END not in row and max(row, default=0) < len(PHONEMES) for row in spoken)


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_and_step_decode_words_of_any_lengths_as_each_alone(kind: g2p.network.Kind) -> None:
    torch.manual_seed(0)
    network = Speller(kind, embedding=4, hidden=6, dropout=0.0).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4.0)
    letters, lengths = torch.randint(1, len(LETTERS), (7, 4)), torch.tensor([3, 7, 1, 5])
    encoder, step = SpellerEncoder(network), SpellerStep(network)
    with torch.no_grad():
        state, memory = encoder(letters, lengths)
        token, steps = torch.full((4,), START), []
        for _ in range(MAX_PHONEMES):
            scores, state = step(token, state, memory, lengths)
            token = scores.argmax(-1)
            steps.append(token)
    rows = torch.stack(steps, dim=1).tolist()
    spoken = [tuple(row[: row.index(END)] if END in row else row) for row in rows]
    alone = [network.pronounce(letters[:length, i : i + 1])[0] for i, length in enumerate(lengths.tolist())]
    assert spoken == alone


def test_score_takes_the_nearest_reference() -> None:
    class Parrot(Speller):
        def pronounce(self, letters: torch.Tensor) -> list[tuple[int, ...]]:
            return [(5, 6, 7, 8)] * letters.shape[1]

    entry = Entry(word="ab", letters=(1, 2), pronunciations=((9, 9, 9), (5, 6, 7)))
    result = score(Parrot("gru", 2, 2, 0.0), [entry])
    assert result.words == 1
    assert result.per == pytest.approx(100 / 3)
    assert result.wer == 100


def small_recipe(kind: g2p.network.Kind) -> Recipe:
    return Recipe(
        kind=kind,
        embedding=4,
        hidden=6,
        dropout=0.3,
        epochs=3,
        batch_size=16,
        peak_learning_rate=0.01,
        label_smoothing=0.0,
        seed=3,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_training_resumes_to_the_same_weights(
    kind: g2p.network.Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test_words: list[Entry]
) -> None:
    monkeypatch.setattr(g2p.training, "entries", lambda split: test_words[:60])
    recipe = small_recipe(kind)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir()
    halves.mkdir()
    expected = train(recipe, whole).state_dict()

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(g2p.training, "score", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, halves)
    resumed = train(recipe, halves).state_dict()
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)
    assert (halves / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_another_recipe_does_not_resume_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test_words: list[Entry]
) -> None:
    monkeypatch.setattr(g2p.training, "entries", lambda split: test_words[:20])
    recipe = small_recipe("gru")
    train(recipe, tmp_path)
    with pytest.raises(SystemExit, match="was trained by another recipe; delete it to start over"):
        train(replace(recipe, dropout=0.5), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_hold_a_two_layer_bidirectional_encoder_and_a_cell(name: str) -> None:
    path = MODELS / name / "model.safetensors"
    assert path.stat().st_size <= 15_000_000
    encoder, decoder = sorted(
        survey_recurrent_modules(open_checkpoint(path).tensors).modules, key=lambda module: module.is_cell
    )
    assert (encoder.prefix, encoder.layers, encoder.directions) == ("encoder", 2, 2)
    assert (decoder.prefix, decoder.hidden_size) == ("decoder", 2 * encoder.hidden_size)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_have_the_measured_quality(name: str, test_words: list[Entry]) -> None:
    claimed = json.loads((MODELS / name / "quality.json").read_text())
    result = score(load(MODELS / name), test_words)
    assert result.words == claimed["words"]
    assert result.per == pytest.approx(claimed["per"], abs=0.01)
    assert result.wer == pytest.approx(claimed["wer"], abs=0.05)
