"""The golden file of a whole model: what it holds, what it leaves out, and which files are refused."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.whole_model import CONTRACT, EagerAdder, adder_outputs, example_of, write_adder

from rnnx.errors import ExportError, GoldenError
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import model_golden_bytes, model_truth, read_model_golden


class Altered(EagerAdder):
    """The model with something done to its outputs by dtype."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change

    def outputs(self, feeds: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
        values = super().outputs(feeds, dtype)
        self.change(values, "64" in str(dtype))
        return values


def test_a_golden_file_holds_the_truth_of_every_case(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    contract = write_adder(path, EagerAdder())
    truth = read_model_golden(golden_path(path), contract)
    names = [entry.case.name for entry in truth.entries]
    assert names == [
        "example",
        "T1 B1",
        "T2 B2",
        "T3 B1",
        "T7 B3",
        "T7 B2",
        "T4 B1",
        "T6 B3 short lengths",
        "T5 B3 zero state",
    ]
    assert not truth.left_out
    for entry in truth.entries:
        expected = adder_outputs(entry.case.feeds)
        assert entry.truth["output"].dtype == np.float64
        for name, value in expected.items():
            np.testing.assert_array_equal(entry.truth[name], value)
        single = adder_outputs(entry.case.feeds, np.float32)
        assert entry.float32_error["hn"] == np.abs(single["hn"].astype(np.float64) - expected["hn"]).max()
        assert entry.float32_error["label"] == 0


def test_the_same_model_gives_the_same_bytes() -> None:
    truths = (model_truth(EagerAdder(), CONTRACT, example_of()) for _ in range(2))
    first, second = (model_golden_bytes(truth, CONTRACT.source.weights_sha256) for truth in truths)
    assert first == second


def test_sizes_at_which_the_model_fails_are_left_out_and_named() -> None:
    truth = model_truth(EagerAdder(least=3), CONTRACT, example_of())
    assert [text.partition(":")[0] for text in truth.left_out] == ["T1 B1", "T2 B2"]
    assert all("RuntimeError: Kernel size" in text for text in truth.left_out)


def test_a_model_that_takes_falling_lengths_alone_gets_them() -> None:
    truth = model_truth(EagerAdder(falling=True), CONTRACT, example_of())
    assert not truth.left_out
    assert all((np.diff(entry.case.feeds["lengths"]) <= 0).all() for entry in truth.entries)


def test_a_model_that_fails_on_its_example_is_no_model() -> None:
    with pytest.raises(ExportError, match="on the example: PyTorch raises RuntimeError"):
        model_truth(EagerAdder(least=99), CONTRACT, example_of())


def _overflow(values: dict[str, Any], double: bool) -> None:
    if not double and len(values["hn"]) == 3:
        values["hn"][0] = np.inf


def _other_labels(values: dict[str, Any], double: bool) -> None:
    if not double and len(values["label"]) == 3:
        values["label"] = values["label"] + 1


@pytest.mark.parametrize(
    ("change", "reason"), [(_overflow, "Inf in float32 alone"), (_other_labels, "give other integers")]
)
def test_cases_that_float32_cannot_tell_are_left_out(change: Any, reason: str) -> None:
    truth = model_truth(Altered(change), CONTRACT, example_of())
    assert [text.partition(":")[0] for text in truth.left_out] == ["T7 B3", "T6 B3 short lengths", "T5 B3 zero state"]
    assert all(reason in text for text in truth.left_out)


def test_nan_is_no_truth() -> None:
    def change(values: dict[str, Any], double: bool) -> None:
        values["output"][0, 0, 0] = np.nan

    with pytest.raises(ExportError, match="NaN"):
        model_truth(Altered(change), CONTRACT, example_of())


def test_integers_that_a_draw_leaves_open_are_drawn_anew() -> None:
    drawn = set[float]()

    def change(values: dict[str, Any], double: bool) -> None:
        if len(values["label"]) != 3:
            return
        drawn.add(round(float(values["output"].sum()), 3))
        if not double and len(drawn) == 1:  # the first draw of three rows
            values["label"] = values["label"] + 1

    truth = model_truth(Altered(change), CONTRACT, example_of())
    assert not truth.left_out
    assert len(drawn) == 4  # two draws of one case, one of the short lengths, and one of the zero states


def test_masks_of_infinity_are_a_truth() -> None:
    def change(values: dict[str, Any], double: bool) -> None:
        values["output"][:, 0] = -np.inf

    truth = model_truth(Altered(change), CONTRACT, example_of())
    assert not truth.left_out
    assert all(entry.float32_error["output"] < 1e-6 for entry in truth.entries)


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.onnx"
    contract = write_adder(path, EagerAdder())
    golden_path(path).write_bytes(golden_path(path).read_bytes()[:size])
    with pytest.raises(GoldenError):
        read_model_golden(golden_path(path), contract)


def test_other_bytes_other_weights_and_other_contracts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    contract = write_adder(path, EagerAdder())
    golden = golden_path(path)
    with pytest.raises(GoldenError, match="other bytes"):
        read_model_golden(golden, replace(contract, golden_sha256="00" * 32))
    with pytest.raises(GoldenError, match="of weights"):
        read_model_golden(golden, replace(contract, source=replace(contract.source, weights_sha256="cd" * 32)))
    wider = replace(contract.inputs[0], dims=("B", "T", 4))
    with pytest.raises(GoldenError, match="do not fit"):
        read_model_golden(golden, replace(contract, inputs=(wider, *contract.inputs[1:])))
    with pytest.raises(GoldenError, match="do not fit"):
        read_model_golden(golden, replace(contract, outputs=contract.outputs[1:]))
    with pytest.raises(GoldenError, match="no such file"):
        read_model_golden(tmp_path / "none.golden.npz", contract)
