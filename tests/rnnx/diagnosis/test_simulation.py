from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.diagnosis.conftest import HIDDEN, Model, model
from torch import nn

from rnnx.diagnosis.arithmetic import ACTIVATIONS, PYTORCH, Arithmetic, gate_weights, input_sums, next_state
from rnnx.diagnosis.simulation import Fault, Wiring, simulate
from rnnx.truths.cases import random_feeds
from rnnx.truths.reference import evaluate
from rnnx.weights.weights import DirectionWeights
from rnnx_runtime.contract import CellKind

MODELS = {
    "lstm": model("lstm"),
    "lstm-2-bi-lengths": model("lstm", 2, 2, lengths=True),
    "gru-2-bi-batch-first": model("gru", 2, 2, batch_first=True, lengths=True),
    "gru-zero-start": model("gru", 2, state_inputs=False),
    "lstm-step": model("lstm", form="step"),
    "gru-unrolled": model("gru", form="unrolled"),
    "lstm-projected-2-bi-lengths": model("lstm", 2, 2, lengths=True, projection=4),
    "rnn-2-bi": model("rnn", 2, 2),
    "rnn-relu-unrolled": model("rnn", form="unrolled", nonlinearity="relu"),
}


@pytest.mark.parametrize("made", MODELS.values(), ids=MODELS)
def test_without_a_fault_it_is_the_reference(made: Model) -> None:
    feeds = random_feeds(made.contract, made.contract.steps or 5, 3, 0)
    for name, value in evaluate(made.weights, made.contract, feeds).items():
        np.testing.assert_allclose(simulate(made.stack, made.contract, feeds)[name], value, atol=1e-12)


CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


def _own(module: nn.Module) -> DirectionWeights:
    values = {key: value.detach().numpy() for key, value in module.named_parameters()}
    return DirectionWeights(
        w_ih=values["weight_ih"], w_hh=values["weight_hh"], b_ih=values["bias_ih"], b_hh=values["bias_hh"]
    )


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_pytorchs(cell: CellKind) -> None:
    torch.manual_seed(0)
    module = CELLS[cell](4, 3)
    x, h, c = torch.randn(2, 4), torch.randn(2, 3), torch.randn(2, 3)
    weights = gate_weights(_own(module))
    got = next_state(weights, input_sums(weights, x.double().numpy()), h.numpy(), c.numpy())
    with torch.no_grad():
        module.double()
        state = module(x.double(), (h.double(), c.double()) if cell == "lstm" else h.double())
    expected = state if cell == "lstm" else (state, c)
    for value, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(value, other.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    "how",
    [
        Arithmetic(clip=0.1),
        Arithmetic(cell_clip=0.1),
        *(Arithmetic(gate=name) for name in ACTIVATIONS if name != "sigmoid"),
        *(Arithmetic(candidate=name) for name in ACTIVATIONS if name != "tanh"),
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_every_arithmetic_differs_from_pytorchs(cell: CellKind, how: Arithmetic) -> None:
    made = model(cell)
    feeds = random_feeds(made.contract, 2, 3, 0)
    wrong = simulate(made.stack, made.contract, feeds, Fault(arithmetic={(0, 0): how}))
    right = simulate(made.stack, made.contract, feeds, Fault(arithmetic={(0, 0): PYTORCH}))
    assert np.abs(wrong["hn"] - right["hn"]).max() > 1e-3


def test_a_gru_without_bias_and_reset_before_is_onnx_runtimes() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    from rnnx.weights.weights import onnx_gates

    made = model("gru")
    own = made.weights.directions[0][0]
    assert own.b_ih is not None
    assert own.b_hh is not None
    both = np.concatenate([onnx_gates("gru", own.b_ih), onnx_gates("gru", own.b_hh)])
    tensors = {"W": onnx_gates("gru", own.w_ih)[None], "R": onnx_gates("gru", own.w_hh)[None], "B": both[None]}
    node = helper.make_node("GRU", ["x", "W", "R", "B", "", "h0"], ["", "hn"], hidden_size=HIDDEN)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, None]) for name in ("x", "h0")]
    output = helper.make_tensor_value_info("hn", TensorProto.FLOAT, [None, None, None])
    weights = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph([node], "gru", inputs, [output], weights)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = random_feeds(made.contract, 3, 2, 0)
    (expected,) = session.run(["hn"], dict(feeds))
    fault = Fault(arithmetic={(0, 0): Arithmetic(reset_before=True)})
    np.testing.assert_allclose(simulate(made.stack, made.contract, feeds, fault)["hn"], expected, atol=1e-6)


def test_weights_of_a_fault_stand_in_for_the_stacks() -> None:
    made, other = model("lstm", 2), model("lstm", 2, seed=1)
    feeds = random_feeds(made.contract, 3, 2, 0)
    mixed = simulate(made.stack, made.contract, feeds, Fault(stack={(1, 0): other.stack[1, 0]}))
    right = simulate(made.stack, made.contract, feeds)
    np.testing.assert_array_equal(mixed["hn"][0], right["hn"][0])
    assert np.abs(mixed["hn"][1] - right["hn"][1]).max() > 1e-3


def test_joins_rearrange_the_halves_of_output() -> None:
    made = model("gru", 1, 2)
    feeds = random_feeds(made.contract, 3, 2, 0)
    right = simulate(made.stack, made.contract, feeds)["output"]
    forward, backward = np.split(right, 2, axis=-1)
    expected = {
        "swapped": np.concatenate([backward, forward], axis=-1),
        "reshaped": np.stack([forward, backward], axis=1).reshape(3, 2, 2 * HIDDEN),
        "alternating": np.stack([forward, backward], axis=-1).reshape(3, 2, 2 * HIDDEN),
    }
    for join, value in expected.items():
        wiring = Wiring(join=join)  # type: ignore[arg-type]
        np.testing.assert_array_equal(simulate(made.stack, made.contract, feeds, Fault(wiring=wiring))["output"], value)


def test_ignored_lengths_are_full_lengths() -> None:
    made = model("lstm", 2, 2, lengths=True)
    feeds = random_feeds(made.contract, 5, 3, 0)
    full = {**feeds, "lengths": np.full(3, 5, np.int32)}
    ignored = simulate(made.stack, made.contract, feeds, Fault(wiring=Wiring(lengths="ignored")))
    for name, value in simulate(made.stack, made.contract, full).items():
        np.testing.assert_array_equal(ignored[name], value)


def test_padding_is_read_by_the_backward_direction_alone() -> None:
    made = model("gru", 1, 2, lengths=True)
    feeds = {**random_feeds(made.contract, 5, 2, 0), "lengths": np.array([5, 2], np.int32)}
    right = simulate(made.stack, made.contract, feeds)
    padded = simulate(made.stack, made.contract, feeds, Fault(wiring=Wiring(lengths="backward-padding")))
    np.testing.assert_array_equal(padded["hn"][0], right["hn"][0])
    np.testing.assert_array_equal(padded["hn"][1, 0], right["hn"][1, 0])
    assert np.abs(padded["hn"][1, 1] - right["hn"][1, 1]).max() > 1e-3
    assert not padded["output"][2:, 1].any()


@pytest.mark.parametrize("backward", ["forward", "left reversed"])
def test_the_backward_order_leaves_the_forward_half(backward: str) -> None:
    made = model("gru", 1, 2)
    feeds = random_feeds(made.contract, 4, 2, 0)
    right = simulate(made.stack, made.contract, feeds)
    wiring = Wiring(backward=backward)  # type: ignore[arg-type]
    wrong = simulate(made.stack, made.contract, feeds, Fault(wiring=wiring))
    np.testing.assert_array_equal(wrong["output"][..., :HIDDEN], right["output"][..., :HIDDEN])
    assert np.abs(wrong["output"][..., HIDDEN:] - right["output"][..., HIDDEN:]).max() > 1e-3


def test_a_wiring_holds_in_its_layers_alone() -> None:
    made = model("lstm", 2, 2, lengths=True)
    feeds = {**random_feeds(made.contract, 5, 2, 0), "lengths": np.array([5, 2], np.int32)}
    upper = Wiring(lengths="ignored", layers=frozenset([1]))
    wrong, right = (simulate(made.stack, made.contract, feeds, f) for f in (Fault(wiring=upper), Fault()))
    np.testing.assert_array_equal(wrong["hn"][:2], right["hn"][:2])
    assert np.abs(wrong["hn"][2:, 1] - right["hn"][2:, 1]).max() > 1e-3


def test_weights_without_bias_have_zeros() -> None:
    own = gate_weights(replace(model("lstm").weights.directions[0][0], b_ih=None, b_hh=None))
    assert own.b_ih.shape == own.b_hh.shape == (4, HIDDEN)
    assert not own.b_ih.any()
