"""A step's graph taken apart."""

from dataclasses import replace

import pytest
from tests.rnnx.decoders.small_decoders import HIDDEN, hand_written_contract, hand_written_step

from rnnx.decoders.step_graph import StepGraph, check_states
from rnnx.errors import ExportError
from rnnx_runtime.contract import StatePair, TensorSpec


def test_nodes_of_the_context_alone_run_once(step: StepGraph) -> None:
    assert [node.name for node in step.once] == ["offset"]
    assert [node.name for node in step.each] == ["embed", "turn", "add", "squash", "project", "shift"]


def test_states_and_context_are_told_apart(step: StepGraph) -> None:
    assert [spec.name for spec in step.state_inputs] == ["state"]
    assert [spec.name for spec in step.state_outputs] == ["next_state"]
    assert [spec.name for spec in step.context] == ["bias"]


def test_the_batch_axis_of_a_state_is_the_one_of_the_tokens() -> None:
    step = hand_written_step()
    assert step.batch_axis(TensorSpec(name="h", dtype="float32", dims=(2, "B", HIDDEN))) == 1
    static = replace(step, token=replace(step.token, dims=(3,)))
    assert static.batch_axis(TensorSpec(name="h", dtype="float32", dims=(3, 3, 3))) == 1
    with pytest.raises(ExportError, match=r"'h' of the decoder: got \(2, 8\), in which no axis is the batch B"):
        step.batch_axis(TensorSpec(name="h", dtype="float32", dims=(2, HIDDEN)))


def test_a_state_that_changes_its_shape_is_refused() -> None:
    contract = hand_written_contract()
    logits, state = contract.outputs
    grown = replace(contract, outputs=(logits, replace(state, dims=("B", HIDDEN + 1))))
    check_states(contract, contract.states)
    with pytest.raises(ExportError, match=r"state 'state' of the decoder: got float32 \(B, 9\) from a step"):
        check_states(grown, contract.states)


def test_states_go_out_in_the_order_in_which_they_come_in(step: StepGraph) -> None:
    first, second = (TensorSpec(name=name, dtype="float32", dims=("B", HIDDEN)) for name in ("h", "c"))
    ends = tuple(replace(spec, name=f"next_{spec.name}") for spec in (second, first))
    pairs = tuple(StatePair(input=name, output=f"next_{name}") for name in ("h", "c"))
    turned = replace(step, states=pairs, inputs=(step.token, second, first), outputs=(step.logits, *ends))
    assert [spec.name for spec in turned.state_inputs] == ["h", "c"]
    assert [spec.name for spec in turned.state_outputs] == ["next_h", "next_c"]
