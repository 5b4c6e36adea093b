"""The four graphs that TensorRT silently computes otherwise, held against PyTorch's arithmetic."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper
from tests.rnnx.tensorrt_network.trap_graphs import HIDDEN_SIZE, INPUT_SIZE, TRAP_GRAPHS, TrapGraph

from rnnx.diagnosis.differential import diagnose
from rnnx.diagnosis.simulation import Stack, simulate, stack_of
from rnnx.parity.parity import compare
from rnnx.truths.cases import case_at
from rnnx.truths.truth import CaseTruth
from rnnx.weights.recurrence import RecurrentModule
from rnnx.weights.weights import ONNX_GATE_ORDER, DirectionWeights, RecurrentWeights
from rnnx_runtime import Contract
from rnnx_runtime.files.model_file import OnnxFile

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")


def _weights(trap: TrapGraph) -> RecurrentWeights:
    """The graph's weights in PyTorch's gate order."""
    values = {one.name: numpy_helper.to_array(one).astype(np.float32) for one in trap.model.graph.initializer}
    places = np.argsort(ONNX_GATE_ORDER["lstm"])

    def gates(value: np.ndarray) -> np.ndarray:
        parts = np.split(value, 4)
        return np.concatenate([parts[place] for place in places])

    b_ih, b_hh = np.split(values["B"][0], 2)
    own = DirectionWeights(w_ih=gates(values["W"][0]), w_hh=gates(values["R"][0]), b_ih=gates(b_ih), b_hh=gates(b_hh))
    module = RecurrentModule(
        prefix="", kind="lstm", is_cell=False, input_size=INPUT_SIZE, hidden_size=HIDDEN_SIZE,
        projection_size=HIDDEN_SIZE, layers=1, directions=1, bias=True, dtype="float32", parameters=0,
    )  # fmt: skip
    return RecurrentWeights(module=module, directions=((own,),), sha256="")


def _truth(stack: Stack, contract: Contract) -> list[CaseTruth]:
    cases = [case_at(contract.layer(), *sizes) for sizes in ((1, 1), (2, 2), (5, 3), (3, 3))]
    none = {spec.name: 0.0 for spec in contract.outputs}
    return [CaseTruth(case=c, truth=simulate(stack, contract.layer(), c.feeds), float32_error=none) for c in cases]


@pytest.mark.parametrize(
    ("name", "cause", "says"),
    [
        ("layout", "batch-for-time", "the batch axis of x"),
        ("clip", "clip", "every activation, at ±0.3"),
        ("softplus", "wrong-activation", "zero in place of the candidate's tanh"),
        ("float64", "float64-as-float32", "float32, declared as float64"),
    ],
)
def test_a_trap_is_named(name: str, cause: str, says: str) -> None:
    from rnnx.tensorrt_network.candidate import NetworkCandidate

    trap = TRAP_GRAPHS[name]()
    weights, contract = _weights(trap), trap.contract
    dtype = "float64" if name == "float64" else "float32"
    outputs = [replace(spec, dtype=dtype) for spec in contract.outputs]
    truth = _truth(stack_of(weights, contract.layer()), contract)
    file = OnnxFile(path=Path("trap.onnx"), contract=contract, data=trap.model.SerializeToString(), external_data=None)
    candidate = NetworkCandidate(file, contract, flavor="tensorrt-rtx")
    row = compare(candidate, truth, contract, "float32", outputs=outputs)
    assert row.status == "fail"
    found = diagnose(candidate, row, truth, contract.layer(), weights, trap.model, outputs=outputs)
    assert found.cause == cause
    assert says in found.summary
