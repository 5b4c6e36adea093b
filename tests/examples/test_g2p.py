"""The trained models whole, without torch: the example's own program, on words and on the test words."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from g2p.comparison import compare
from g2p.dictionary import PHONEMES, entries
from g2p.export import export_speller
from g2p.greedy import greedy_bytes, read_greedy
from g2p.pronouncing import pronounced
from rnnx_runtime.errors import InputError
from rnnx_runtime.seq2seq.pair import Seq2Seq, load_seq2seq

ROOT = Path(__file__).parents[2]
MODELS = ("g2p-lstm", "g2p-gru")

_NO_TORCH = """
import sys
for name in ("torch", "onnxscript", "spox", "safetensors"):
    sys.modules[name] = None
"""
"""What a site's own start-up file may say: from then on these cannot be imported, as where they are not installed."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("g2p")
    for model in MODELS:
        export_speller(ROOT / "models" / model, folder)
    return folder


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, exported: Path) -> Seq2Seq:
    return load_seq2seq(exported / f"{request.param}.seq2seq.json", "ort-cpu")


def run(exported: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The example in an interpreter that cannot import torch."""
    folder = exported / "site"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_NO_TORCH)
    command = [sys.executable, str(ROOT / "examples" / "g2p.py"), "--exported", str(exported), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_words_are_pronounced_without_torch(exported: Path) -> None:
    done = run(exported, "Hello", "world")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "g2p-lstm  Hello: HH EH L OW",
        "g2p-lstm  world: W ER L D",
        "g2p-gru  Hello: HH EH L OW",
        "g2p-gru  world: W ER L D",
        "torch was not imported",
    ]


@pytest.mark.parametrize("word", ["naïve", "two words", ""])
def test_what_is_no_word_is_refused(exported: Path, word: str) -> None:
    done = run(exported, word)
    assert done.returncode == 2
    assert f"g2p: word: got {word!r}, expected letters from a to z and apostrophes" in done.stderr


def test_models_that_are_not_exported_are_named_with_the_command(tmp_path: Path) -> None:
    done = run(tmp_path, "hello")
    assert done.returncode == 1
    assert f"PYTHONPATH=models python -m g2p.export models/g2p-lstm -o {tmp_path}" in done.stderr


def test_some_test_words_are_as_pytorch_decodes_them(exported: Path) -> None:
    words = entries("test")[::40]
    for name in MODELS:
        with load_seq2seq(exported / f"{name}.seq2seq.json", "ort-cpu") as model:
            found = compare(model, ROOT / "models" / name, words)
        assert found.different == ()
        assert found.score.words == len(words) > 300


def test_a_difference_from_pytorch_is_found(model: Seq2Seq, tmp_path: Path) -> None:
    words = entries("test")[:5]
    spoken = dict(zip([entry.word for entry in words], pronounced(model, [own.word for own in words]), strict=True))
    spoken[words[2].word] = (*spoken[words[2].word], 5)
    (tmp_path / "greedy.txt.gz").write_bytes(greedy_bytes(spoken))
    assert compare(model, tmp_path, words).different == (words[2].word,)


def test_words_of_any_length_side_by_side_are_pronounced_as_alone(model: Seq2Seq) -> None:
    words = ["a", "extraordinarily", "cat's", "of", "rhythm"]
    assert pronounced(model, words, batch=5) == [pronounced(model, [word])[0] for word in words]


def test_a_word_with_a_foreign_letter_is_named(model: Seq2Seq) -> None:
    with pytest.raises(InputError, match="'x1'"):
        pronounced(model, ["ok", "x1"])


@pytest.mark.parametrize("name", MODELS)
def test_pytorchs_decoding_is_written_down_for_every_test_word(name: str) -> None:
    spoken = read_greedy(ROOT / "models" / name)
    assert list(spoken) == [entry.word for entry in entries("test")]
    assert all(0 <= index < len(PHONEMES) for row in spoken.values() for index in row)
    assert greedy_bytes(spoken) == (ROOT / "models" / name / "greedy.txt.gz").read_bytes()


@pytest.mark.slow
def test_every_test_word_is_as_pytorch_decodes_it_and_the_error_rate_to_the_digit(exported: Path) -> None:
    done = run(exported, "onnx")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if "words as PyTorch" in line]
    assert len(lines) == 6
    for line in lines:
        assert "12451 of 12451 words" in line
        per, claimed = re.findall(r"(?:PER|PyTorch) (\d+\.\d{12}) %", line)
        assert per == claimed


@pytest.mark.slow
@pytest.mark.tensorrt
def test_an_engine_of_every_piece_is_built_and_running_them_says_what_is_missing(exported: Path) -> None:
    done = run(exported, "tensorrt")
    built = re.findall(r"(g2p-\w+\.\w+)\.plan: .* its network evaluated in NumPy: pass", done.stdout)
    assert sorted(built) == sorted(f"{m}.{role}" for m in MODELS for role in ("encoder", "decoder", "loop", "whole"))
    if done.returncode:
        assert done.stdout.count("engines are built and cannot run here:") == 2
        assert done.returncode == 1
    else:
        assert done.stdout.count("12451 of 12451 words") == 2
