"""What the tests of checks share: small models in NumPy whose outputs a test may change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.contracts import recurrence_of
from torch import nn

from rnnx.checks.probe import Probe
from rnnx.checks.truth_source import TruthSource
from rnnx.truths.cases import Case
from rnnx.truths.model_cases import CaseSource
from rnnx.truths.reference import evaluate
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights
from rnnx_runtime import Contract, Recurrence
from rnnx_runtime.contract import Source, layer_contract

Array = NDArray[Any]
Run = Callable[[Case], dict[str, Array]]
Change = Callable[[Run, Case], dict[str, Array]]

SEED = 3


class FakeCandidate:
    """NumPy in float32, whose every call goes through a function that may spoil it."""

    name = "fake"
    device = "NumPy"

    def __init__(self, run: Run, change: Change) -> None:
        self._run, self._change = run, change
        self.calls: list[Case] = []

    def outputs(self, case: Case) -> dict[str, Array]:
        self.calls.append(case)
        return self._change(self._run, case)

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        raise NotImplementedError

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model's contract and weights, and what checks take of it."""

    contract: Recurrence
    weights: RecurrentWeights

    @property
    def whole(self) -> Contract:
        """The contract of a file that holds this layer alone."""
        return layer_contract(self.contract, precision="float32", source=Source(file="", module="", weights_sha256=""))

    @property
    def inputs(self) -> CaseSource:
        """What its cases are drawn for."""
        return CaseSource(contract=self.whole, example={})

    def run(self, case: Case) -> dict[str, Array]:
        """The outputs in float32."""
        return evaluate(self.weights, self.contract, case.feeds, np.float32)

    def source(self) -> TruthSource:
        """The truth in NumPy."""
        return TruthSource(double=lambda case: evaluate(self.weights, self.contract, case.feeds), single=self.run)

    def probe(self, change: Change = lambda run, case: run(case), **fields: Any) -> Probe:
        """A probe of a candidate that is right but for `change`."""
        candidate = FakeCandidate(self.run, change)
        values = {"contract": self.whole, "precision": "float32", "outputs": self.contract.outputs, **fields}
        return Probe(candidate=candidate, **values)


@pytest.fixture
def model_of() -> Callable[..., Model]:
    """`model_of(build, **changes)`: the model of a seeded module, with changes to its contract."""
    return _model_of


def _model_of(build: Callable[[], nn.Module], **changes: Any) -> Model:
    torch.manual_seed(SEED)
    checkpoint = TorchCheckpoint("module", build().state_dict())
    weights = read_weights(checkpoint, choose_module(checkpoint, None))
    own = weights.module
    values = {
        "form": "step" if own.is_cell else "encoder",
        "cell": own.kind,
        "steps": None,
        "batch_first": False,
        "state_inputs": True,
        "lengths": False,
        "precision": "float32",
        "formulation": "test",
        "source": Source(file="module", module="", weights_sha256=weights.sha256),
    }
    sizes = {
        name: getattr(own, name) for name in ("input_size", "hidden_size", "projection_size", "layers", "directions")
    }
    return Model(contract=recurrence_of(**{**sizes, **values, **changes}), weights=weights)


@pytest.fixture
def lstm(model_of: Callable[..., Model]) -> Model:
    """One layer, one direction, lengths."""
    return model_of(lambda: nn.LSTM(5, 8), lengths=True)


@pytest.fixture
def bidirectional(model_of: Callable[..., Model]) -> Model:
    """Two layers, two directions, lengths."""
    return model_of(lambda: nn.LSTM(5, 8, 2, bidirectional=True), lengths=True)


@pytest.fixture
def step(model_of: Callable[..., Model]) -> Model:
    """An LSTM cell."""
    return model_of(lambda: nn.LSTMCell(5, 8))


@pytest.fixture
def unrolled(model_of: Callable[..., Model]) -> Model:
    """Four steps of a GRU cell."""
    return model_of(lambda: nn.GRUCell(5, 8), form="unrolled", steps=4)
