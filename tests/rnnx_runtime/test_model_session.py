"""A session over a whole model: what goes in by name, what comes out, and what is refused before a backend sees it."""

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.whole_model import CONTRACT, WIDTH, adder_outputs, example_of

from rnnx_runtime import InputError, Session, SessionClosedError
from rnnx_runtime.contract import Contract, SizeRange, StatePair, TensorSpec
from rnnx_runtime.errors import ForkedError


class NumpyBackend:
    """The model in NumPy; `feeds` are the last run's, and a run waits for `gate`."""

    device = "NumPy"

    def __init__(self) -> None:
        self.feeds: Mapping[str, Any] = {}
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def run(self, feeds: Mapping[str, Any], out: Mapping[str, Any] | None = None) -> list[Any]:
        self.feeds = feeds
        self.entered.set()
        assert self.gate.wait(10)
        values = adder_outputs(feeds, np.float32)
        return [values[spec.name] for spec in CONTRACT.outputs]

    def describe(self) -> dict[str, str | int | None]:
        return {"note": "in NumPy"}

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def backend() -> NumpyBackend:
    return NumpyBackend()


@pytest.fixture
def session(backend: NumpyBackend) -> Session:
    return Session(CONTRACT, backend, "ort-cpu")


def _inputs(time: int = 4, batch: int = 2) -> dict[str, Any]:
    return {name: value for name, value in example_of(time, batch).items() if name != "h0"}


def test_outputs_and_the_next_state_come_by_name(session: Session) -> None:
    inputs = _inputs()
    outputs, state = session.run(inputs)
    truth = adder_outputs({**inputs, "h0": np.zeros((2, WIDTH), np.float32)})
    assert outputs.keys() == {"output", "label"}
    assert state.keys() == {"h0"}
    np.testing.assert_allclose(outputs["output"], truth["output"], atol=1e-6)
    np.testing.assert_array_equal(outputs["label"], truth["label"])
    np.testing.assert_allclose(state["h0"], truth["hn"], atol=1e-6)


def test_a_state_can_be_given_back_at_once(session: Session) -> None:
    inputs = _inputs()
    _, first = session.run(inputs)
    _, second = session.run(inputs, first)
    np.testing.assert_allclose(second["h0"], 2 * first["h0"], atol=1e-6)


def test_states_that_are_left_out_are_zeros(session: Session, backend: NumpyBackend) -> None:
    session.run(_inputs(batch=3), {})
    assert backend.feeds["h0"].shape == (3, WIDTH)
    assert not backend.feeds["h0"].any()


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param([4, 1], id="list"),
        pytest.param(np.array([4, 1], np.int32), id="int32"),
        pytest.param(np.array([4, 1], np.uint8), id="uint8"),
        pytest.param(torch.tensor([4, 1]), id="tensor"),
    ],
)
def test_lengths_may_be_any_integers(session: Session, backend: NumpyBackend, lengths: Any) -> None:
    session.run({**_inputs(), "lengths": lengths})
    assert backend.feeds["lengths"].dtype == np.int64
    assert backend.feeds["lengths"].tolist() == [4, 1]


def test_views_of_other_libraries_are_read(session: Session, backend: NumpyBackend) -> None:
    x = torch.arange(2 * 4 * WIDTH, dtype=torch.float32).reshape(2, 4, WIDTH)
    session.run({**_inputs(), "x": x})
    np.testing.assert_array_equal(backend.feeds["x"], x.numpy())


def test_what_a_backend_gets_is_contiguous(session: Session, backend: NumpyBackend) -> None:
    x = np.arange(2 * 4 * WIDTH, dtype=np.float32).reshape(WIDTH, 4, 2).T
    session.run({**_inputs(), "x": x})
    assert backend.feeds["x"].flags.c_contiguous
    np.testing.assert_array_equal(backend.feeds["x"], x)


@pytest.mark.parametrize(
    ("changes", "state", "message"),
    [
        pytest.param({"x": np.zeros((2, 4, WIDTH))}, None, r"float64.*float32.*astype", id="dtype"),
        pytest.param({"x": np.zeros((2, 4), np.float32)}, None, r"\(2, 4\).*\(B, T, 3\)", id="rank"),
        pytest.param({"x": np.zeros((2, 4, 5), np.float32)}, None, r"\(2, 4, 5\)", id="size"),
        pytest.param({"x": np.zeros((2, 0, WIDTH), np.float32)}, None, "empty", id="empty"),
        pytest.param({"x": [[[1.0]]]}, None, "list", id="list"),
        pytest.param({"mask": np.ones((2, 5), bool)}, None, r"T=5.*T=4, as in 'x'", id="unequal-T"),
        pytest.param({"mask": np.ones((2, 4), np.int64)}, None, "int64.*bool", id="mask-of-integers"),
        pytest.param({"lengths": [0, 4]}, None, "0 to 4.*1 to 4", id="zero-length"),
        pytest.param({"lengths": [4, 5]}, None, "4 to 5.*1 to 4", id="long-length"),
        pytest.param({"lengths": [4.0, 1.0]}, None, "float64", id="float-lengths"),
        pytest.param({"lengths": [[4], [1, 2]]}, None, "object", id="ragged-lengths"),
        pytest.param({"lengths": [4, 4, 4]}, None, r"\(3,\).*\(2,\)", id="three-lengths"),
        pytest.param({"y": 1}, None, "'y'.*leave it out", id="unknown"),
        pytest.param({"h0": np.zeros((2, WIDTH), np.float32)}, None, "'h0'.*second argument", id="state-as-input"),
        pytest.param({}, {"x": 1}, "'x'.*first argument", id="input-as-state"),
        pytest.param({}, {"hn": 1}, "'hn'.*h0", id="output-as-state"),
        pytest.param(
            {}, {"h0": np.zeros((3, WIDTH), np.float32)}, "batch 3.*batch 2, as in x", id="state-of-another-batch"
        ),
        pytest.param({}, [1], "list.*a State of h0", id="state-no-mapping"),
    ],
)
def test_what_does_not_fit_is_refused(
    session: Session, backend: NumpyBackend, changes: dict[str, Any], state: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        session.run({**_inputs(), **changes}, state)
    assert not backend.feeds


def test_a_missing_input_and_no_mapping_are_refused(session: Session) -> None:
    with pytest.raises(InputError, match=r"no 'mask'"):
        session.run({name: value for name, value in _inputs().items() if name != "mask"})
    with pytest.raises(InputError, match=r"ndarray.*mapping"):
        session.run(np.zeros(3))


def _with_memory() -> Contract:
    """A model with a state as long as a memory that no other input has."""
    memory = TensorSpec(name="memory", dtype="float32", dims=("B", "D1"))
    after = replace(memory, name="memory_n")
    return replace(
        CONTRACT,
        inputs=(*CONTRACT.inputs, memory),
        outputs=(*CONTRACT.outputs, after),
        states=(*CONTRACT.states, StatePair(input="memory", output="memory_n")),
    )


def test_a_state_whose_size_nothing_says_must_be_given(backend: NumpyBackend) -> None:
    with pytest.raises(InputError, match=r"state 'memory'.*how large D1 is"):
        Session(_with_memory(), backend).run(_inputs())


def test_a_size_inside_of_a_states_expression_can_be_given(backend: NumpyBackend) -> None:
    contract = _with_memory()
    memory = replace(contract.inputs[-1], dims=("B*D1", WIDTH))
    contract = replace(
        contract,
        inputs=(*contract.inputs[:-1], memory),
        outputs=(*contract.outputs[:-1], replace(memory, name="memory_n")),
    )
    session = Session(contract, backend)
    assert np.shape(session.initial_state(2, D1=3)["memory"]) == (6, WIDTH)
    with pytest.raises(InputError, match=r"no D1"):
        session.initial_state(2)


def test_a_time_that_is_fixed_bounds_no_length(backend: NumpyBackend) -> None:
    x, lengths, mask, h0 = CONTRACT.inputs
    fixed = replace(CONTRACT, inputs=(replace(x, dims=("B", 4, WIDTH)), lengths, replace(mask, dims=("B", 4)), h0))
    Session(fixed, backend).run(_inputs())
    with pytest.raises(InputError, match="0 to 4"):
        Session(fixed, backend).run({**_inputs(), "lengths": [0, 4]})


def test_it_says_what_it_is(session: Session) -> None:
    assert session.describe() == {"backend": "ort-cpu", "device": "NumPy", "note": "in NumPy"}
    assert repr(session) == "<Session: Adder, x (B, T, 3), mask (B, T), on NumPy>"
    session.close()
    assert repr(session).endswith("closed>")


def test_a_closed_session_frees_its_backend_once_and_runs_no_more(session: Session, backend: NumpyBackend) -> None:
    with session:
        session.run(_inputs())
    session.close()
    assert backend.closed == 1
    with pytest.raises(SessionClosedError):
        session.run(_inputs())


def test_closing_waits_for_the_call_in_flight(session: Session, backend: NumpyBackend) -> None:
    backend.gate.clear()
    running = threading.Thread(target=session.run, args=(_inputs(),))
    running.start()
    assert backend.entered.wait(10)
    closing = threading.Thread(target=session.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    before = backend.closed
    backend.gate.set()
    closing.join(10)
    running.join(10)
    assert (before, backend.closed) == (0, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_is_told_to_load_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnx_runtime.threads.call_gate.getpid", lambda: os.getpid() + 1)
    with pytest.raises(ForkedError, match="after the fork"):
        session.run(_inputs())


@pytest.mark.parametrize("kind", [list, np.array], ids=["list", "array"])
def test_lengths_of_a_second_sequence_may_exceed_the_first(backend: NumpyBackend, kind: Any) -> None:
    second = (
        TensorSpec(name="y", dtype="float32", dims=("D1", "B", WIDTH)),
        TensorSpec(name="y_lengths", dtype="int64", dims=("B",)),
    )
    contract = replace(CONTRACT, inputs=(*CONTRACT.inputs, *second), lengths=(*CONTRACT.lengths, "y_lengths"))
    session = Session(contract, backend)
    inputs = {**_inputs(4, 2), "y": np.zeros((7, 2, WIDTH), np.float32)}
    session.run({**inputs, "y_lengths": kind([7, 1])})
    assert backend.feeds["y_lengths"].tolist() == [7, 1]
    with pytest.raises(InputError, match=r"8.*1 to 7"):
        session.run({**inputs, "y_lengths": kind([8, 1])})


@pytest.mark.parametrize(
    ("own", "time", "is_inside"),
    [
        (SizeRange(min=4), 4, True),
        (SizeRange(min=4), 3, False),
        (SizeRange(max=4), 4, True),
        (SizeRange(max=4), 5, False),
    ],
    ids=["least", "below", "most", "above"],
)
def test_a_size_outside_of_the_contracts_range_is_refused(
    backend: NumpyBackend, own: SizeRange, time: int, is_inside: bool
) -> None:
    session = Session(replace(CONTRACT, ranges={"T": own}), backend, "ort-cpu")
    if is_inside:
        session.run(_inputs(time))
        return
    with pytest.raises(InputError, match=f"got T={time} in .*, expected T of {own}"):
        session.run(_inputs(time))
    assert not backend.feeds
