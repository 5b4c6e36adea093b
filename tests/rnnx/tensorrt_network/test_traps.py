"""The silent traps show in the parsed network's values, where ONNX Runtime, if it runs the graph, is right."""

import numpy as np
import onnxruntime
import pytest
from tests.rnnx.tensorrt_network.conftest import Array, Graph
from tests.rnnx.tensorrt_network.trap_graphs import TRAP_GRAPHS, TrapGraph, clipped_graph, float64_graph

from rnnx.tensorrt_network.candidate import NetworkCandidate
from rnnx.truths.cases import Case, case_at

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

ROUNDING = 1e-6
"""More than float32 loses in a few steps of this size."""

SIZES = pytest.mark.parametrize("sizes", [(6, 3), (4, 4), (9, 2)], ids=lambda sizes: f"t{sizes[0]}-b{sizes[1]}")


def _network_outputs(trap: TrapGraph, case: Case) -> dict[str, Array]:
    return NetworkCandidate(Graph(data=trap.model.SerializeToString()), trap.contract).outputs(case)


def _runtime_outputs(trap: TrapGraph, case: Case) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(trap.model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [spec.name for spec in trap.contract.outputs]
    return dict(zip(names, session.run(names, {"x": case.feeds["x"]}), strict=True))


def _error(got: dict[str, Array], expected: dict[str, Array]) -> float:
    return max(float(np.abs(got[name] - value).max()) for name, value in expected.items())


@SIZES
def test_layout_1_takes_the_batch_for_the_time(sizes: tuple[int, int]) -> None:
    trap = TRAP_GRAPHS["layout"]()
    case = case_at(trap.contract.layer(), *sizes)
    got, x = _network_outputs(trap, case), case.feeds["x"]
    assert np.abs(got["output"] - trap.expected(x)["output"]).max() > 1e-2
    time_first = trap.expected(x.swapaxes(0, 1))  # what it computes instead: the recurrence over the batch
    assert np.abs(got["output"] - time_first["output"].swapaxes(0, 1)).max() < ROUNDING
    assert _error(got, {name: time_first[name] for name in ("hn", "cn")}) < ROUNDING


@SIZES
@pytest.mark.parametrize("name", ["clip", "softplus"])
def test_the_values_are_others_than_onnx_runtimes(name: str, sizes: tuple[int, int]) -> None:
    trap = TRAP_GRAPHS[name]()
    case = case_at(trap.contract.layer(), *sizes)
    expected = trap.expected(case.feeds["x"])
    assert _error(_runtime_outputs(trap, case), expected) < ROUNDING
    assert _error(_network_outputs(trap, case), expected) > 1e-3


@SIZES
def test_clip_is_read_as_its_page_says_for_every_activation(sizes: tuple[int, int]) -> None:
    trap = clipped_graph(clips_cell=True)
    case = case_at(trap.contract.layer(), *sizes)
    expected = trap.expected(case.feeds["x"])
    assert _error(_network_outputs(trap, case), expected) < ROUNDING
    assert np.abs(expected["cn"]).max() > 0.3  # the state that is carried and given back is not clipped


@SIZES
def test_float64_is_computed_in_float32(sizes: tuple[int, int]) -> None:
    trap = float64_graph()
    case = case_at(trap.contract.layer(), *sizes)
    got = _network_outputs(trap, case)
    assert {value.dtype.name for value in got.values()} == {"float32"}
    assert 1e-9 < _error(got, trap.expected(case.feeds["x"])) < ROUNDING
