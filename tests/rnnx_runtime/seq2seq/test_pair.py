"""A pair opened and run: the same tokens as PyTorch's greedy decoding, in every way it can run."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.decoders.small_pairs import STEPS, Decoder, Encoder, decoded, drawn, example, options, pair_of

from rnnx.decoders.pair_export import export_seq2seq
from rnnx_runtime.errors import (
    BackendUnavailable,
    ContractError,
    FileDamagedError,
    InputError,
    SessionClosedError,
)
from rnnx_runtime.files.seal import sealed
from rnnx_runtime.seq2seq.pair import Seq2Seq, Way, load_seq2seq

Pair = tuple[Encoder, Decoder]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return pair_of("lstm")


@pytest.fixture(scope="module")
def manifest(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pair") / "speller.seq2seq.json"
    export_seq2seq(*pair, example(), path, options(loop=True, whole=True))
    return path


@pytest.fixture
def copied(manifest: Path, tmp_path: Path) -> Path:
    """The pair in a folder of its own, to be damaged."""
    shutil.copytree(manifest.parent, tmp_path / "pair")
    return tmp_path / "pair" / manifest.name


def inputs_of(batch: int, seed: int) -> dict[str, Any]:
    letters, lengths = drawn(batch, seed)
    return {"letters": letters.numpy(), "lengths": lengths.numpy()}


@pytest.mark.parametrize("way", ["whole", "loop", "step"])
@pytest.mark.parametrize("batch", [1, 2, 6])
def test_tokens_equal_pytorchs_greedy_decoding(manifest: Path, pair: Pair, way: Way, batch: int) -> None:
    with load_seq2seq(manifest, "ort-cpu", way=way) as model:
        for seed in range(4):
            assert model.generate(inputs_of(batch, seed)) == decoded(pair, *drawn(batch, seed))


def test_rows_of_the_cases_end_at_different_steps(pair: Pair) -> None:
    lengths = {len(row) for seed in range(4) for row in decoded(pair, *drawn(6, seed))}
    assert len(lengths) > 3


@pytest.mark.parametrize("way", ["whole", "loop", "step"])
def test_a_row_has_at_most_so_many_tokens(manifest: Path, pair: Pair, way: Way) -> None:
    with load_seq2seq(manifest, way=way) as model:
        assert model.generate(inputs_of(6, 0), max_steps=2) == decoded(pair, *drawn(6, 0), steps=2)
        for wrong in (0, STEPS + 1, True, 2.0):
            with pytest.raises(InputError, match=rf"max_steps: got {wrong}, expected a whole number from 1 to {STEPS}"):
                model.generate(inputs_of(1, 0), max_steps=wrong)  # type: ignore[arg-type] # what is tested


@pytest.mark.parametrize("way", ["whole", "step"])
def test_many_threads_decode_with_one_pair(manifest: Path, pair: Pair, way: Way) -> None:
    seeds = list(range(4)) * 8
    expected = {seed: decoded(pair, *drawn(6, seed)) for seed in set(seeds)}
    inputs = {seed: inputs_of(6, seed) for seed in expected}
    with load_seq2seq(manifest, way=way) as model, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda seed: model.generate(inputs[seed]), seeds))
    assert found == [expected[seed] for seed in seeds]


def test_left_out_the_way_is_the_first_that_the_pair_has(copied: Path) -> None:
    assert opened_files(copied) == ["whole"]
    rewrite(copied, whole=None)
    assert opened_files(copied) == ["encoder", "loop"]
    rewrite(copied, loop=None)
    assert opened_files(copied) == ["encoder", "decoder"]
    with pytest.raises(ContractError, match="got no way 'loop', expected step"):
        load_seq2seq(copied, way="loop")


def opened_files(path: Path) -> list[str]:
    with load_seq2seq(path) as model:
        return list(model._sessions)


def rewrite(path: Path, **changes: Any) -> None:
    """The manifest with some values changed, sealed anew."""
    values = {**json.loads(path.read_text()), **changes}
    path.write_bytes(sealed(json.dumps(values).encode()))


def test_a_piece_that_is_missing_or_another_is_refused(copied: Path) -> None:
    whole = copied.with_name("speller.whole.onnx")
    shutil.copy(copied.with_name("speller.loop.onnx"), whole)
    with pytest.raises(FileDamagedError, match=r"speller\.whole\.onnx: got a file with sha256"):
        load_seq2seq(copied)
    whole.unlink()
    with pytest.raises(FileDamagedError, match=r"No such file .* expected the file that speller\.seq2seq\.json names"):
        load_seq2seq(copied)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"passes": {"state_0": "state_0"}}, "for each of", id="something-not-passed"),
        pytest.param(
            {"passes": dict.fromkeys(("state_0", "state_1", "memory", "lengths"), "nothing")},
            "for each of",
            id="not-of-the-encoder",
        ),
    ],
)
def test_pieces_that_do_not_fit_are_refused(copied: Path, changes: dict[str, Any], message: str) -> None:
    rewrite(copied, **changes)
    with pytest.raises(ContractError, match=message):
        load_seq2seq(copied, way="step")


def test_a_piece_in_anothers_place_is_refused(copied: Path) -> None:
    values = json.loads(copied.read_text())
    rewrite(copied, decoder=values["loop"])
    with pytest.raises(ContractError, match="the pair's decoder: got a decoder as loop, expected a step"):
        load_seq2seq(copied, way="step")
    rewrite(copied, loop=values["encoder"])
    with pytest.raises(ContractError, match="the pair's loop: got no decoder, expected a loop"):
        load_seq2seq(copied, way="loop")


def test_on_tensorrt_each_piece_needs_its_own_engine(copied: Path) -> None:
    with pytest.raises(ContractError, match=r"speller\.whole\.plan: got no sidecar"):
        load_seq2seq(copied, "tensorrt-rtx")


@pytest.mark.tensorrt
def test_an_engine_of_another_piece_is_refused(copied: Path) -> None:
    import rnnx

    whole, step = copied.with_name("speller.whole.onnx"), copied.with_name("speller.decoder.onnx")
    rnnx.build_engine(step, whole.with_suffix(".plan"))
    with pytest.raises(ContractError, match=r"an engine of another model .* expected one of speller\.whole\.onnx"):
        load_seq2seq(copied, "tensorrt-rtx")
    rnnx.build_engine(whole, whole.with_suffix(".plan"))
    if not torch.cuda.is_available():
        with pytest.raises(BackendUnavailable):
            load_seq2seq(copied, "tensorrt-rtx")


def test_wrong_inputs_are_refused_as_the_encoder_refuses_them(manifest: Path) -> None:
    with load_seq2seq(manifest) as model:
        with pytest.raises(InputError, match="letters"):
            model.generate({"letters": np.zeros((3, 2), np.float32), "lengths": np.array([3, 1])})
        with pytest.raises(InputError, match="lengths"):
            model.generate({"letters": np.zeros((3, 2), np.int64), "lengths": np.array([3, 4])})


@pytest.mark.parametrize("way", ["whole", "step"])
def test_a_closed_pair_is_closed(manifest: Path, way: Way) -> None:
    model = load_seq2seq(manifest, way=way)
    model.close()
    model.close()
    with pytest.raises(SessionClosedError):
        model.generate(inputs_of(1, 0))


def test_a_pair_says_where_it_runs(manifest: Path) -> None:
    with load_seq2seq(manifest, "ort-cpu") as model:
        assert isinstance(model, Seq2Seq)
        assert (model.backend, model.device) == ("ort-cpu", "CPU")


@pytest.mark.parametrize("way", ["whole", "loop", "step"])
@pytest.mark.parametrize("kind", [list, np.int32], ids=["list", "int32"])
def test_lengths_that_the_decoder_takes_too_may_be_of_any_integers(
    manifest: Path, pair: Pair, way: Way, kind: Any
) -> None:
    inputs = inputs_of(6, 1)
    lengths = inputs["lengths"].tolist() if kind is list else inputs["lengths"].astype(kind)
    with load_seq2seq(manifest, way=way) as model:
        assert model.generate({**inputs, "lengths": lengths}) == decoded(pair, *drawn(6, 1))


@pytest.mark.parametrize("way", ["whole", "loop", "step"])
def test_lengths_that_are_left_out_are_the_whole_time(manifest: Path, way: Way) -> None:
    letters = inputs_of(6, 1)["letters"]
    full = np.full(letters.shape[1], len(letters))
    with load_seq2seq(manifest, way=way) as model:
        assert model.generate({"letters": letters}) == model.generate({"letters": letters, "lengths": full})


def test_closing_waits_for_a_row_that_is_being_decoded(manifest: Path, pair: Pair) -> None:
    model = load_seq2seq(manifest, way="step")
    decoder, inside = model._sessions["decoder"], threading.Event()
    run, closer = decoder.run, threading.Thread(target=model.close)

    def slow(*arguments: Any) -> Any:
        if not inside.is_set():
            inside.set()
            closer.start()
            closer.join(0.2)  # a close that waits for no call would be through
        return run(*arguments)

    decoder.run = slow  # type: ignore[method-assign, assignment] # what is tested
    assert model.generate(inputs_of(6, 0)) == decoded(pair, *drawn(6, 0))
    closer.join()
    with pytest.raises(SessionClosedError):
        model.generate(inputs_of(6, 0))


@pytest.mark.parametrize("way", ["whole", "loop"])
@pytest.mark.parametrize("change", [{"end_token": 3}, {"start_token": 2}, {"max_steps": 9}], ids=str)
def test_a_manifest_that_ends_elsewhere_than_its_graph_is_refused(
    copied: Path, way: Way, change: dict[str, int]
) -> None:
    rewrite(copied, **change)
    with pytest.raises(ContractError, match=f"the pair's {way}: got start_token 1, end_token 2, max_steps 7, expected"):
        load_seq2seq(copied, way=way)
