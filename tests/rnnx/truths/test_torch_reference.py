from typing import Any

import numpy as np
import pytest
import torch
from tests.contracts import recurrence_of
from torch import nn

from rnnx.truths.cases import Case, cases, random_feeds
from rnnx.truths.reference import evaluate
from rnnx.truths.torch_reference import TorchReference, torch_threads, torch_truth
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights
from rnnx_runtime import BackendUnavailable, Recurrence
from rnnx_runtime.contract import Source


def _weights(module: nn.Module) -> RecurrentWeights:
    checkpoint = TorchCheckpoint("module", module.state_dict())
    return read_weights(checkpoint, choose_module(checkpoint, None))


def _contract(weights: RecurrentWeights, **changes: Any) -> Recurrence:
    own = weights.module
    sizes = {"input_size": own.input_size, "hidden_size": own.hidden_size, "projection_size": own.projection_size}
    values = {
        "form": "step" if own.is_cell else "encoder",
        "cell": own.kind,
        "layers": own.layers,
        "directions": own.directions,
        "steps": None,
        "batch_first": False,
        "state_inputs": True,
        "lengths": False,
        "precision": "float32",
        "formulation": "test",
        "source": Source(file="module", module="", weights_sha256=weights.sha256),
    }
    return recurrence_of(**{**sizes, **values, **changes})


FORMS = {
    "lstm-1-uni": (lambda: nn.LSTM(3, 4), {}),
    "lstm-2-bi-lengths": (lambda: nn.LSTM(3, 4, 2, bidirectional=True), {"lengths": True}),
    "lstm-batch-first-lengths": (lambda: nn.LSTM(3, 4), {"batch_first": True, "lengths": True}),
    "lstm-no-bias": (lambda: nn.LSTM(3, 4, bias=False), {}),
    "lstm-no-state-inputs": (lambda: nn.LSTM(3, 4), {"state_inputs": False}),
    "gru-3-bi": (lambda: nn.GRU(3, 4, 3, bidirectional=True), {}),
    "gru-lengths": (lambda: nn.GRU(3, 4), {"lengths": True}),
    "lstm-step": (lambda: nn.LSTMCell(3, 4), {}),
    "gru-step": (lambda: nn.GRUCell(3, 4), {}),
    "lstm-unrolled": (lambda: nn.LSTMCell(3, 4), {"form": "unrolled", "steps": 6}),
    "lstm-projected": (lambda: nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True), {"lengths": True}),
    "rnn-relu": (lambda: nn.RNN(3, 4, 2, nonlinearity="relu"), {}),
    "rnn-relu-step": (lambda: nn.RNNCell(3, 4, nonlinearity="relu"), {}),
    "rnn-unrolled": (lambda: nn.RNNCell(3, 4), {"form": "unrolled", "steps": 6}),
    "gru-unrolled": (lambda: nn.GRUCell(3, 4), {"form": "unrolled", "steps": 6}),
}


@pytest.mark.parametrize(("build", "changes"), FORMS.values(), ids=FORMS)
def test_truth_is_what_the_formulas_give_in_float64(build: Any, changes: dict[str, Any]) -> None:
    weights = _weights(build())
    contract = _contract(weights, **changes)
    for golden in torch_truth(weights, contract, cases(contract)):
        expected = evaluate(weights, contract, golden.case.feeds)
        assert set(golden.truth) == set(expected)
        for name, value in golden.truth.items():
            assert value.dtype == np.float64
            np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-13)
            assert golden.float32_error[name] < 1e-6


def test_float32_outputs_are_the_modules_own() -> None:
    module = nn.LSTM(3, 4, 2)
    weights = _weights(module)
    contract = _contract(weights)
    feeds = {name: torch.from_numpy(value) for name, value in cases(contract)[2].feeds.items()}
    with torch.inference_mode():
        output, (hn, cn) = module(feeds["x"], (feeds["h0"], feeds["c0"]))
    found = TorchReference(weights, contract).outputs(cases(contract)[2])
    for name, value in {"output": output, "hn": hn, "cn": cn}.items():
        np.testing.assert_array_equal(found[name], value.numpy())


def test_building_the_reference_leaves_the_callers_seed_alone() -> None:
    weights = _weights(nn.GRU(3, 4))
    before = torch.get_rng_state()
    TorchReference(weights, _contract(weights))
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_are_restored_also_after_an_error() -> None:
    before = torch.get_num_threads()
    during = []

    def fail() -> None:
        with torch_threads(before + 1):
            during.append(torch.get_num_threads())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert during == [before + 1]
    assert torch.get_num_threads() == before


def test_cuda_is_refused_with_the_reason_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    weights = _weights(nn.LSTM(3, 4))
    with pytest.raises(BackendUnavailable, match=f"torch {torch.__version__.replace('+', '.')}, .*CUDA"):
        TorchReference(weights, _contract(weights), device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA build of torch and a GPU")
@pytest.mark.parametrize(("build", "changes"), FORMS.values(), ids=FORMS)
def test_cuda_computes_in_full_float32(build: Any, changes: dict[str, Any]) -> None:
    weights = _weights(build())
    contract = _contract(weights, **changes)
    cuda = TorchReference(weights, contract, device="cuda")
    for golden in torch_truth(weights, contract, cases(contract)):
        for name, value in cuda.outputs(golden.case).items():
            np.testing.assert_allclose(value, golden.truth[name], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("build", "changes"), [FORMS["lstm-1-uni"], FORMS["gru-step"]], ids=["encoder", "step"])
def test_a_stream_carries_the_state_from_step_to_step(
    monkeypatch: pytest.MonkeyPatch, build: Any, changes: dict[str, Any]
) -> None:
    weights = _weights(build())
    reference = TorchReference(weights, _contract(weights, **changes))
    feeds = random_feeds(_contract(weights, **changes), 1, 1, seed=0)
    given: list[Any] = []
    run = reference._run

    def noted(tensors: Any) -> Any:
        given.append(tensors)
        return run(tensors)

    monkeypatch.setattr(reference, "_run", noted)
    step = reference.prepare_stream(feeds)
    step()
    step()
    first = reference.outputs(Case(name="first", feeds=feeds))
    np.testing.assert_array_equal(given[0]["h0"].numpy(), feeds["h0"])
    np.testing.assert_array_equal(given[1]["h0"].numpy(), first["hn"])


class FakeEvent:
    """A CUDA event on a device whose clock is the number of events recorded."""

    recorded = 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.at, self.waited = 0, False

    def record(self) -> None:
        FakeEvent.recorded += 1
        self.at = FakeEvent.recorded

    def synchronize(self) -> None:
        self.waited = True

    def elapsed_time(self, end: "FakeEvent") -> float:
        assert end.waited, "the time is known after the end was waited for"
        return float(end.at - self.at)


def test_on_a_gpu_events_around_the_call_alone_tell_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = _weights(nn.LSTM(3, 4))
    reference = TorchReference(weights, _contract(weights))
    feeds = random_feeds(_contract(weights), 5, 2, seed=0)
    assert reference.prepare_on_device(feeds) is None
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    reference.device = "Fake GPU"
    run = reference.prepare_on_device(feeds)
    assert run is not None
    monkeypatch.setattr(reference, "_placed", lambda tensors: pytest.fail("inputs are copied once, not in each call"))
    assert [run(), run()] == [1.0, 1.0]
