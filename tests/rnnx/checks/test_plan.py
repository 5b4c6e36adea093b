from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rnnx
from rnnx import ExportOptions
from rnnx.checks.drift import measure_drift
from rnnx.checks.plan import CHECK_SIZES, plan_checks, run_checks
from rnnx.checks.probe import Probe
from rnnx.checks.truth_source import source_from_weights
from rnnx.parity.results import CHECK_NAMES, all_hold
from rnnx.runners.candidates import SessionCandidate
from rnnx.truths.matrix_names import MATRIX_NAMES
from rnnx.truths.model_cases import CaseSource
from rnnx.truths.torch_reference import TorchReference
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import choose_module, read_weights

MODELS: dict[str, tuple[Any, dict[str, Any], set[str]]] = {
    "lstm-2-lengths": (lambda: nn.LSTM(5, 8, 2), {"lengths": True}, set()),
    "lstm-2-bi-lengths": (lambda: nn.LSTM(5, 8, 2, bidirectional=True), {"lengths": True}, {"streaming", "drift"}),
    "gru-batch-first": (lambda: nn.GRU(5, 8, batch_first=True), {}, {"padding", "zero-length"}),
    "gru-no-states": (
        lambda: nn.GRU(5, 8),
        {"stateful": False, "lengths": True},
        {"streaming", "drift"},
    ),
    "lstm-step": (lambda: nn.LSTMCell(5, 8), {}, {"padding", "zero-length"}),
    "gru-unrolled": (lambda: nn.GRUCell(5, 8), {"form": "unrolled", "steps": 4}, {"padding", "zero-length"}),
}


@pytest.mark.parametrize("backend", ["ort-cpu", "pytorch-cpu"])
@pytest.mark.parametrize(("build", "options", "skips"), MODELS.values(), ids=MODELS)
def test_all_holds_of_a_real_backend(tmp_path: Path, backend: str, build: Any, options: Any, skips: set[str]) -> None:
    torch.manual_seed(5)
    module, path = build(), tmp_path / "model.onnx"
    contract = rnnx.export(module, path, ExportOptions(**options)).contract
    checkpoint = TorchCheckpoint("module", module.state_dict())
    weights = read_weights(checkpoint, choose_module(checkpoint, None))
    plan = plan_checks(
        CaseSource(contract=contract, example={}),
        "quick",
        source_from_weights(weights, contract.layer()),
        drift_steps=200,
    )
    candidate: Any = (
        SessionCandidate("ort-cpu", path, 1) if backend == "ort-cpu" else TorchReference(weights, contract.layer())
    )
    probe = Probe(candidate=candidate, contract=contract, precision="float32", outputs=contract.outputs)
    results, curve = run_checks(probe, plan), measure_drift(probe, plan.drift)
    candidate.close()
    assert tuple(result.check for result in results) == CHECK_NAMES
    assert {result.backend for result in results} | {curve.backend} == {backend}
    found: dict[str, str] = {result.check: result.status for result in results}
    found["drift"] = curve.status
    assert found == {name: "skip" if name in skips else "pass" for name in (*CHECK_NAMES, "drift")}
    if contract.lengths:
        assert results[-1].detail.startswith("refused: ")


def test_each_check_is_told_of(lstm: Any) -> None:
    told: list[int] = []
    results = run_checks(lstm.probe(), plan_checks(lstm.inputs, "quick"), on_check=lambda: told.append(1))
    assert len(told) == len(results) == len(CHECK_NAMES)


def test_a_backend_that_always_fails_fails_every_check_that_applies(lstm: Any) -> None:
    def fail(run: Any, case: Any) -> Any:
        return {name: value * np.nan for name, value in run(case).items()}

    results = run_checks(lstm.probe(fail), plan_checks(lstm.inputs, "quick"))
    assert {result.status for result in results} == {"fail"}
    assert not all_hold(results)


def test_without_weights_there_is_no_drift_and_the_limits_are_floors(lstm: Any) -> None:
    bare, whole = (plan_checks(lstm.inputs, "quick", source) for source in (None, lstm.source()))
    assert bare.drift is None
    assert [dict(case.float32_error) for case in bare.cases] == [{}]
    assert whole.drift is not None
    known = [*(case.float32_error for case in whole.cases), *(stream.float32_error for stream in whole.streams)]
    assert [sorted(errors) for errors in known] == [["cn", "hn", "output"]] * 2
    assert whole.drift.steps == CHECK_SIZES["quick"].drift_steps
    assert plan_checks(lstm.inputs, "quick", lstm.source(), drift_steps=50).drift.steps == 50  # type: ignore[union-attr]
    assert all(error > 0 for errors in known for error in errors.values())


def test_a_state_that_cannot_be_carried_costs_no_truth(bidirectional: Any) -> None:
    plan = plan_checks(bidirectional.inputs, "quick", bidirectional.source())
    assert (plan.drift, plan.streams) == (None, ())


@pytest.mark.parametrize("name", MATRIX_NAMES)
def test_every_matrix_has_odd_batches_padding_and_a_row_that_ends_early(lstm: Any, name: Any) -> None:
    plan = plan_checks(lstm.inputs, name)
    assert [case.case.feeds["x"].shape[:2] for case in plan.cases] == list(CHECK_SIZES[name].cases)
    assert any(case.case.feeds["x"].shape[1] % 2 for case in plan.cases)
    for case in plan.cases:
        assert case.case.feeds["lengths"].min() < len(case.case.feeds["x"])
    for stream in plan.streams[:1]:
        assert stream.stream.lengths is not None
        assert stream.stream.lengths.tolist() == [1, 4, 7]


def test_larger_matrices_check_more() -> None:
    quick, full, soak = (CHECK_SIZES[name] for name in MATRIX_NAMES)
    assert set(quick.cases) < set(full.cases) < set(soak.cases)
    assert set(quick.streams) < set(full.streams) < set(soak.streams)
    assert quick.drift_steps < full.drift_steps == soak.drift_steps == 10_000


def test_more_sizes_are_more_cases(lstm: Any, step: Any) -> None:
    assert [case.case.name for case in plan_checks(lstm.inputs, "quick", sizes=[(2, 3)]).cases] == ["T7 B5", "T2 B3"]
    assert [case.case.name for case in plan_checks(step.inputs, "quick", sizes=[(2, 3)]).cases] == ["B3", "B5"]


def test_a_batch_of_one_among_the_sizes_is_no_trouble(lstm: Any) -> None:
    plan = plan_checks(lstm.inputs, "quick", sizes=[(1, 1), (7, 1)])
    alone = Probe(**{**vars(lstm.probe()), "covers": lambda sizes: sizes["B"] == 1})
    assert {result.status for result in run_checks(lstm.probe(), plan)} == {"pass"}
    assert [result.status for result in run_checks(alone, plan)] == ["skip", "pass", "skip", "skip", "skip", "skip"]
