import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.contracts import changed
from torch import nn

import rnnx
from rnnx import ExportOptions
from rnnx.errors import GoldenError
from rnnx.truths.cases import GOLDEN_MATRIX, cases
from rnnx.truths.golden import golden_bytes, golden_path, golden_truth, read_golden
from rnnx.truths.reference import evaluate
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights
from rnnx_runtime import Contract

SEED = 20269
GOLDEN_CASES = [f"T{time} B{batch}" for time, batch in GOLDEN_MATRIX]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Contract, RecurrentWeights]:
    torch.manual_seed(SEED)
    module = nn.LSTM(3, 5, 2, bidirectional=True)
    path = tmp_path_factory.mktemp("golden") / "model.onnx"
    contract = rnnx.export(module, path, ExportOptions(lengths=True)).contract
    checkpoint = TorchCheckpoint("LSTM", module.state_dict())
    return golden_path(path).read_bytes(), contract, read_weights(checkpoint, choose_module(checkpoint, None))


Model = tuple[bytes, Contract, RecurrentWeights]
Arrays = dict[str, NDArray[Any]]


@pytest.mark.parametrize("model_name", ["model.onnx", "model.plan"])
def test_a_golden_file_lies_beside_its_model(model_name: str) -> None:
    assert golden_path(Path("models") / model_name) == Path("models/model.golden.npz")


def test_a_golden_file_holds_every_case_and_its_truth(tmp_path: Path, model: Model) -> None:
    data, contract, weights = model
    (tmp_path / "model.golden.npz").write_bytes(data)
    golden = read_golden(tmp_path / "model.golden.npz", contract)
    assert [entry.case.name for entry in golden][: len(GOLDEN_CASES)] == GOLDEN_CASES
    for entry, case in zip(golden, cases(contract.layer(), GOLDEN_MATRIX), strict=True):
        assert entry.case.name == case.name
        for name, value in case.feeds.items():
            np.testing.assert_array_equal(entry.case.feeds[name], value)
        for name, value in evaluate(weights, contract.layer(), case.feeds).items():
            np.testing.assert_allclose(entry.truth[name], value, rtol=0, atol=1e-14)  # rows of one batch
            assert 0 < entry.float32_error[name] < 1e-6


def test_the_same_model_gives_the_same_bytes(model: Model) -> None:
    data, contract, weights = model
    assert golden_bytes(golden_truth(weights, contract), weights.sha256) == data


def refusal(path: Path, contract: Contract) -> str:
    with pytest.raises(GoldenError) as caught:
        read_golden(path, contract)
    return str(caught.value)


def test_a_missing_golden_file_is_refused(tmp_path: Path, model: Model) -> None:
    assert refusal(tmp_path / "model.golden.npz", model[1]) == (
        f"{tmp_path / 'model.golden.npz'}: got no such file, expected the golden file that rnnx export wrote beside "
        "the model; copy it along with the model, or verify against the weights, as the checkpoint"
    )


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_golden_file_is_refused(tmp_path: Path, model: Model, part: float) -> None:
    data, contract, _ = model
    (tmp_path / "model.golden.npz").write_bytes(data[: int(part * len(data))])
    message = refusal(tmp_path / "model.golden.npz", contract)
    assert message.endswith("expected a whole golden file; copy it anew or export the model again")


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage", b"\x93NUMPY garbage"])
def test_garbage_is_refused(tmp_path: Path, model: Model, content: bytes) -> None:
    (tmp_path / "model.golden.npz").write_bytes(content)
    assert "expected a whole golden file" in refusal(tmp_path / "model.golden.npz", model[1])


def test_a_single_array_is_refused(tmp_path: Path, model: Model) -> None:
    np.save(tmp_path / "single.npy", np.zeros(3))
    assert "expected a whole golden file" in refusal(tmp_path / "single.npy", model[1])


def test_a_folder_is_refused(tmp_path: Path, model: Model) -> None:
    assert "expected a whole golden file" in refusal(tmp_path, model[1])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_not_waited_for(tmp_path: Path, model: Model) -> None:
    os.mkfifo(tmp_path / "model.golden.npz")
    assert "got a FIFO, no regular file" in refusal(tmp_path / "model.golden.npz", model[1])


def test_a_file_too_large_to_be_a_golden_is_not_read(tmp_path: Path, model: Model) -> None:
    with (tmp_path / "model.golden.npz").open("wb") as file:
        file.truncate(2**40)
    assert "got 1099511627776 bytes, more than" in refusal(tmp_path / "model.golden.npz", model[1])


def test_a_flipped_bit_is_refused_or_changes_no_value(tmp_path: Path, model: Model) -> None:
    data, contract, _ = model
    path = tmp_path / "model.golden.npz"
    path.write_bytes(data)
    whole = read_golden(path, contract)
    chance = random.Random(SEED)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            read = read_golden(path, contract)
        except GoldenError:
            refused += 1
        else:  # a date or an attribute of the zip
            assert repr(read) == repr(whole)
    assert refused > 200


def test_the_golden_file_of_another_model_is_refused(tmp_path: Path, model: Model) -> None:
    torch.manual_seed(SEED + 1)
    other = rnnx.export(nn.LSTM(3, 5, 2, bidirectional=True), tmp_path / "model.onnx", ExportOptions(lengths=True))
    ours, theirs = (contract.source.weights_sha256[:12] for contract in (model[1], other.contract))
    assert refusal(other.golden, model[1]) == (
        f"{other.golden}: got the golden of weights {theirs}…, expected {ours}…; "
        "the file belongs to another model: copy the right one"
    )


def alter(arrays: Arrays, key: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    arrays[key] = change(arrays[key])


def edit(data: bytes, change: Callable[[Arrays], object]) -> bytes:
    with np.load(io.BytesIO(data)) as file:
        arrays: Arrays = {key: file[key] for key in file.files}
    change(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type] # names of arrays
    return buffer.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda arrays, case: arrays.pop(f"{case}/in/x"), id="input-missing"),
        pytest.param(lambda arrays, case: arrays.pop(f"{case}/out/cn"), id="output-missing"),
        pytest.param(lambda arrays, case: arrays.pop(f"{case}/float32_error/hn"), id="error-missing"),
        pytest.param(lambda arrays, case: arrays.update({f"{case}/in/extra": np.zeros(1)}), id="input-unknown"),
        pytest.param(lambda arrays, case: arrays.update({"note": np.zeros(1)}), id="array-unknown"),
        pytest.param(lambda arrays, case: alter(arrays, f"{case}/in/x", lambda x: x[:, :, :-1]), id="input-width"),
        pytest.param(lambda arrays, case: alter(arrays, f"{case}/in/x", lambda x: x[:, :-1]), id="input-batch"),
        pytest.param(lambda arrays, case: alter(arrays, f"{case}/in/x", lambda x: x.astype("f8")), id="input-dtype"),
        pytest.param(lambda arrays, case: alter(arrays, f"{case}/out/hn", lambda hn: hn[0]), id="output-rank"),
        pytest.param(lambda arrays, case: alter(arrays, f"{case}/out/output", lambda y: y[:-1]), id="output-time"),
        pytest.param(lambda arrays, case: alter(arrays, f"{case}/float32_error/hn", np.ravel), id="error-shape"),
        pytest.param(lambda arrays, case: [arrays.pop(key) for key in list(arrays) if "/" in key], id="no-cases"),
    ],
)
def test_arrays_that_do_not_fit_the_contract_are_refused(
    tmp_path: Path, model: Model, change: Callable[[Arrays, str], object]
) -> None:
    data, contract, _ = model
    edited = edit(data, lambda arrays: change(arrays, GOLDEN_CASES[-1]))
    (tmp_path / "model.golden.npz").write_bytes(edited)
    message = refusal(tmp_path / "model.golden.npz", contract)
    assert "got arrays that do not fit the model's contract" in message or "got no cases" in message


def test_pickled_objects_are_not_loaded(tmp_path: Path, model: Model) -> None:
    data, contract, _ = model
    edited = edit(data, lambda arrays: arrays.update({f"{GOLDEN_CASES[-1]}/in/x": np.array([{}], object)}))
    (tmp_path / "model.golden.npz").write_bytes(edited)
    assert "an array of Python objects" in refusal(tmp_path / "model.golden.npz", contract)


@pytest.mark.parametrize("changes", [{"batch_first": True}, {"lengths": False}, {"state_inputs": False}], ids=str)
def test_the_golden_file_of_another_export_of_the_same_weights_is_refused(
    tmp_path: Path, model: Model, changes: dict[str, bool]
) -> None:
    data, contract, _ = model
    (tmp_path / "model.golden.npz").write_bytes(data)
    other = changed(contract, **changes)
    assert "do not fit the model's contract" in refusal(tmp_path / "model.golden.npz", other)
