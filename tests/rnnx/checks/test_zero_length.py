from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from torch import nn

import rnnx
from rnnx import ExportOptions
from rnnx.checks.plan import plan_checks
from rnnx.checks.probe import Probe
from rnnx.checks.zero_length import check_zero_length
from rnnx.errors import RowDiedError
from rnnx.truths.cases import Case
from rnnx.truths.model_cases import CaseSource
from rnnx.truths.torch_reference import TorchReference
from rnnx_runtime import Contract, InputError

Values = dict[str, Any]


def _refuses(run: Any, case: Case) -> Values:
    if case.feeds["lengths"].min() < 1:
        raise InputError("lengths", got="0", expected="≥ 1", remedy="leave such rows out")
    values: Values = run(case)
    return values


def _as_if_one(run: Any, case: Case) -> Values:
    feeds = {**case.feeds, "lengths": np.maximum(1, case.feeds["lengths"])}
    values: Values = run(Case(name=case.name, feeds=feeds))
    return values


def _changed(name: str, row: int, value: float) -> Any:
    def change(run: Any, case: Case) -> Values:
        values: Values = run(case)
        if case.feeds["lengths"].min() < 1:
            values[name][0, row, 0] = value
        return values

    return change


def _check(model: Any, change: Any) -> Any:
    return check_zero_length(model.probe(change), plan_checks(model.inputs, "quick").cases)


def test_a_refusal_is_the_policy(lstm: Any) -> None:
    result = _check(lstm, _refuses)
    assert result.status == "pass"
    assert result.detail == "refused: lengths: got 0, expected ≥ 1; leave such rows out"
    assert (result.max_difference, result.limit, result.bitwise) == (None, None, None)


def test_a_backend_that_dies_of_it_has_not_refused(lstm: Any) -> None:
    def dies(run: Any, case: Case) -> Values:
        raise RowDiedError("backend", got="SIGSEGV", expected="an answer", remedy="none")

    result = _check(lstm, dies)
    assert result.status == "fail"
    assert "SIGSEGV" in result.detail


def test_pytorch_refuses(lstm: Any) -> None:
    probe = lstm.probe()
    pytorch = type(probe)(**{**vars(probe), "candidate": TorchReference(lstm.weights, lstm.contract)})
    result = check_zero_length(pytorch, plan_checks(lstm.inputs, "quick").cases)
    assert result.status == "pass"
    assert result.detail.startswith("refused: Length of all samples has to be greater than 0")


def _fails_in_another_process(run: Any, case: Case) -> Values:
    if case.feeds["lengths"].min() < 1:
        raise RuntimeError("in the process of a row:\nTraceback (most recent call last):\nRuntimeError: too short")
    values: Values = run(case)
    return values


def test_pytorchs_refusal_is_told_without_its_traceback(lstm: Any) -> None:
    probe = lstm.probe(_fails_in_another_process)
    probe.candidate.name = "pytorch-cuda"
    result = check_zero_length(probe, plan_checks(lstm.inputs, "quick").cases)
    assert (result.status, result.detail) == ("pass", "refused: RuntimeError: too short")


def test_a_defect_of_another_row_is_no_refusal(lstm: Any) -> None:
    with pytest.raises(RuntimeError, match="in the process of a row"):
        _check(lstm, _fails_in_another_process)


@pytest.mark.parametrize("states", [True, False], ids=["states", "zeros"])
def test_handing_the_state_on_is_well(model_of: Any, states: bool) -> None:
    model = model_of(lambda: nn.LSTM(5, 8), lengths=True, state_inputs=states)
    result = _check(model, lambda run, case: run(case))
    assert result.status == "pass"
    assert result.detail.startswith("taken, with zeros and the state handed on")


WRONG: dict[str, tuple[Any, str]] = {
    "as-length-1": (_as_if_one, "taken, but output of the row of length 0 is not zero"),
    "output": (_changed("output", 0, 1e-9), "taken, but output of the row of length 0 is not zero"),
    "hn": (_changed("hn", 0, 0.5), "taken, but hn of the row of length 0 is not its first state"),
    "cn": (_changed("cn", 0, 0.5), "taken, but cn of the row of length 0 is not its first state"),
    "nan": (_changed("hn", 0, np.nan), "hn of T7 B5 with a length of 0: got 1 of 40 values are NaN or Inf"),
    "mate": (_changed("hn", 1, 0.5), "taken, with zeros and the state handed on; the rows beside it: furthest apart"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_anything_else_fails(lstm: Any, change: Any, message: str) -> None:
    result = _check(lstm, change)
    assert result.status == "fail"
    assert result.detail.startswith(message)


def test_without_lengths_it_does_not_apply(step: Any) -> None:
    assert _check(step, lambda run, case: run(case)).detail == "the model takes no lengths"


def test_sizes_beyond_an_engines_profile_are_skipped(lstm: Any) -> None:
    probe = lstm.probe(covers=lambda sizes: False)
    result = check_zero_length(probe, plan_checks(lstm.inputs, "quick").cases)
    assert (result.status, result.detail) == ("skip", "no profile of the engine takes a batch of these: T7 B5")
    assert not probe.candidate.calls


class _Bare:
    """ONNX Runtime with no session of rnnx before it, as a foreign file's row."""

    name, device = "ort-cpu", "CPU"

    def __init__(self, path: Path, contract: Contract) -> None:
        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._names = [spec.name for spec in contract.outputs]

    def outputs(self, case: Case) -> Values:
        return dict(zip(self._names, self._session.run(self._names, dict(case.feeds)), strict=True))

    def prepare(self, feeds: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None: ...


@pytest.mark.parametrize("build", [nn.LSTM, nn.GRU], ids=["lstm", "gru"])
def test_onnx_runtime_takes_it_and_loses_the_state(tmp_path: Path, build: Any) -> None:
    path = tmp_path / "model.onnx"
    contract = rnnx.export(build(5, 8), path, ExportOptions(lengths=True)).contract
    probe = Probe(candidate=_Bare(path, contract), contract=contract, precision="float32", outputs=contract.outputs)
    cases = plan_checks(CaseSource(contract=contract, example={}), "quick").cases
    result = check_zero_length(probe, cases)
    assert (result.status, result.detail) == ("fail", "taken, but hn of the row of length 0 is not its first state")
    lengths = cases[0].case.feeds["lengths"] * np.array([0, 1, 1, 1, 1], np.int32)
    foreign = replace(contract, recurrent=(replace(contract.layer(), formulation="foreign"),))
    told = check_zero_length(replace(probe, contract=foreign), cases)
    assert told.status == "skip"
    assert "its first state: that is the backend's doing" in told.detail
    values = probe.run(Case(name="", feeds={**cases[0].case.feeds, "lengths": lengths}))
    assert not values["hn"][:, 0].any()
