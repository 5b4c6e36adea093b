import array
import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.contracts import changed
from torch import nn

import rnnx
import rnnx_runtime
from rnnx_runtime import Contract, InputError, Session, SessionClosedError, State
from rnnx_runtime.errors import ForkedError

Array = NDArray[Any]

SEED = 20261
ENCODER = {"layers": 1, "directions": 1}
STEP = {**ENCODER, "form": "step"}
UNROLLED = {**ENCODER, "form": "unrolled", "steps": 3}
GRU = {**ENCODER, "cell": "gru"}


class NumpyBackend:
    """A backend that remembers its feeds and gives the n-th output filled with n; states lie on its device if asked."""

    device = "NumPy"

    def __init__(self, contract: Contract, keeps_states: bool = False) -> None:
        self.contract = contract
        self.keeps_states = keeps_states
        self.feeds: Mapping[str, Any] = {}
        self.runs = self.closed = 0

    def run(self, feeds: Mapping[str, Any], out: Mapping[str, Array] | None = None) -> list[Any]:
        self.feeds, self.runs = feeds, self.runs + 1
        sizes = dict(zip(self.contract.inputs[0].dims, feeds["x"].shape, strict=True))
        values: list[Any] = []
        for place, spec in enumerate(self.contract.outputs):
            value = np.full([sizes[d] if isinstance(d, str) else d for d in spec.dims], place, np.float32)
            if out is not None and spec.name in out:
                out[spec.name][...] = value
                value = out[spec.name]
            is_kept = self.keeps_states and spec.name != "output"
            values.append(HeldTensor(self, value) if is_kept else value)
        return values

    def close(self) -> None:
        self.closed += 1


class HeldTensor:
    """A `DeviceTensor` whose device is NumPy; counts its copies to the host."""

    def __init__(self, owner: object, values: Array) -> None:
        self.owner, self.shape, self.copies = owner, values.shape, 0
        self._values = values

    def numpy(self) -> Array:
        self.copies += 1
        return self._values.copy()


def session_of(contract: Contract, **changes: Any) -> tuple[Session, NumpyBackend]:
    own = changed(contract, **changes)
    backend = NumpyBackend(own)
    return Session(own, backend), backend


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def message_of(session: Session, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as caught:
        session.run(*args, **kwargs)
    return str(caught.value)


def test_a_session_says_what_it_runs_and_where(contract: Contract) -> None:
    session, _ = session_of(contract)
    assert session.spec == contract
    assert (session.device, session.backend) == ("NumPy", "NumpyBackend")
    assert Session(contract, NumpyBackend(contract), "ort-cpu").backend == "ort-cpu"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        pytest.param(np.ones((5, 2, 10)), "got float64 (5, 2, 10), {}; cast it with .astype('float32')", id="float64"),
        pytest.param(
            np.ones((5, 2, 10), np.int64), "got int64 (5, 2, 10), {}; cast it with .astype('float32')", id="int64"
        ),
        pytest.param(
            np.ones((5, 2, 10), ">f4"), "got >f4 (5, 2, 10), {}; cast it with .astype('float32')", id="byte-order"
        ),
        pytest.param(
            ones(5, 10), "got float32 (5, 10), {}; reshape it to the model's contract (session.spec)", id="rank"
        ),
        pytest.param(
            ones(5, 2, 9), "got float32 (5, 2, 9), {}; reshape it to the model's contract (session.spec)", id="size"
        ),
        pytest.param(ones(0, 2, 10), "got float32 (0, 2, 10), {}; no dim may be empty", id="no-time"),
        pytest.param(ones(5, 0, 10), "got float32 (5, 0, 10), {}; no dim may be empty", id="no-batch"),
        pytest.param(
            [[[1.0] * 10]], "got list, {}; give a NumPy array, or a tensor that NumPy or DLPack can view", id="list"
        ),
        pytest.param(
            None, "got NoneType, {}; give a NumPy array, or a tensor that NumPy or DLPack can view", id="none"
        ),
    ],
)
def test_a_wrong_x_is_refused_before_the_backend_runs(contract: Contract, x: Any, message: str) -> None:
    session, backend = session_of(contract)
    assert message_of(session, x) == "input 'x': " + message.format("expected float32 (T, B, 10)")
    assert backend.runs == 0


@pytest.mark.parametrize(
    ("changes", "x", "expected"),
    [
        pytest.param({"batch_first": True}, ones(5, 2, 9), "(B, T, 10)", id="batch-first"),
        pytest.param(STEP, ones(1, 2, 10), "(B, 10)", id="step"),
        pytest.param(UNROLLED, ones(4, 2, 10), "(3, B, 10)", id="unrolled"),
    ],
)
def test_a_wrong_x_is_told_the_models_own_layout(
    contract: Contract, changes: dict[str, Any], x: Array, expected: str
) -> None:
    session, _ = session_of(contract, **changes)
    assert f"expected float32 {expected}" in message_of(session, x)


def test_a_state_of_another_batch_gets_a_hint_about_the_layout(contract: Contract) -> None:
    session, _ = session_of(contract)
    state = session.initial_state(5)
    assert message_of(session, ones(5, 2, 10), state) == (
        "state 'h0': got batch 5, expected batch 2, as in x; x is (T, B, 10) here; "
        "if your data is (B, T, I), swap its first two axes"
    )
    batch_first, _ = session_of(contract, batch_first=True)
    assert "x is (B, T, 10) here; if your data is (T, B, I), swap" in message_of(batch_first, ones(2, 5, 10), state)


@pytest.mark.parametrize(
    ("state", "got"),
    [
        pytest.param((ones(1, 2, 4), ones(1, 2, 4)), "tuple", id="tuple"),
        pytest.param(ones(1, 2, 4), "ndarray", id="array"),
        pytest.param({"h": 1}, "'h'", id="dict"),
    ],
)
def test_a_state_that_is_no_state_is_refused(contract: Contract, state: Any, got: str) -> None:
    lstm, _ = session_of(contract, **ENCODER)
    h0, c0 = "h0 float32 (1, B, 4)", "c0 float32 (1, B, 4)"
    assert message_of(lstm, ones(5, 2, 10), state) == (
        f"state: got {got}, expected a State of {h0}, {c0}; give State(h, c)"
    )
    gru, _ = session_of(contract, **GRU)
    assert message_of(gru, ones(5, 2, 10), state) == f"state: got {got}, expected a State of {h0}; give State(h)"


@pytest.mark.parametrize(
    ("changes", "state", "message"),
    [
        pytest.param(ENCODER, State(ones(1, 2, 4)), "state: got no 'c0', expected a State of h0", id="no-c"),
        pytest.param(
            ENCODER,
            State(ones(1, 2, 4).astype(np.float64), ones(1, 2, 4)),
            "state 'h0': got float64 (1, 2, 4), expected float32 (1, B, 4); cast it",
            id="float64",
        ),
        pytest.param(
            ENCODER,
            State(ones(1, 2, 4), ones(1, 2, 5)),
            "state 'c0': got float32 (1, 2, 5), expected float32 (1, B, 4); reshape it",
            id="size",
        ),
        pytest.param(
            {},
            State(ones(2, 2, 4), ones(2, 2, 4)),
            "state 'h0': got float32 (2, 2, 4), expected float32 (4, B",
            id="rows",
        ),
        pytest.param(
            STEP,
            State(ones(1, 2, 4), ones(1, 2, 4)),
            "state 'h0': got float32 (1, 2, 4), expected float32 (B, 4)",
            id="rank",
        ),
        pytest.param(
            ENCODER,
            State(ones(1, 2, 4), ones(1, 3, 4)),
            "state 'c0': got batch 3, expected batch 2, as in x; ",
            id="batch-of-c",
        ),
        pytest.param(
            GRU,
            State(ones(1, 2, 4), ones(1, 2, 4)),
            "state: got 'c0', expected a State of h0 float32 (1, B, 4); give State(h)",
            id="c-for-gru",
        ),
        pytest.param(
            {**ENCODER, "state_inputs": False},
            State(ones(1, 2, 4), ones(1, 2, 4)),
            "state: got state for a model without state inputs, expected no state; export it with",
            id="no-state-inputs",
        ),
    ],
)
def test_a_wrong_state_is_refused_before_the_backend_runs(
    contract: Contract, changes: dict[str, Any], state: State, message: str
) -> None:
    session, backend = session_of(contract, **changes)
    x = ones(2, 10) if changes.get("form") == "step" else ones(5, 2, 10)
    assert message_of(session, x, state).startswith(message)
    assert backend.runs == 0


@pytest.mark.parametrize(
    ("lengths", "got"),
    [
        pytest.param(np.array([0, 5]), "values from 0 to 5", id="zero"),
        pytest.param(np.array([-1, 5]), "values from -1 to 5", id="negative"),
        pytest.param(np.array([1, 6]), "values from 1 to 6", id="past-the-end"),
        pytest.param(np.array([5]), "int64 (1,)", id="too-few"),
        pytest.param(np.array([[5, 5]]), "int64 (1, 2)", id="rank"),
        pytest.param(np.array(5), "int64 ()", id="scalar"),
        pytest.param(np.array([5.0, 5.0]), "float64 (2,)", id="float"),
        pytest.param(np.array([True, True]), "bool (2,)", id="bool"),
        pytest.param([[5], [5, 5]], "object (2,)", id="ragged"),
    ],
)
@pytest.mark.parametrize(("batch_first", "shape"), [(False, (5, 2, 10)), (True, (2, 5, 10))], ids=["tbi", "bti"])
def test_wrong_lengths_are_refused(
    contract: Contract, lengths: Any, got: str, batch_first: bool, shape: tuple[int, ...]
) -> None:
    session, backend = session_of(contract, lengths=True, batch_first=batch_first)
    assert message_of(session, ones(*shape), lengths=lengths) == (
        f"lengths: got {got}, expected whole numbers (2,) from 1 to 5; "
        "give one length per row; PyTorch's packed sequences refuse a zero length too"
    )
    assert backend.runs == 0


def test_lengths_for_a_model_without_are_refused(contract: Contract) -> None:
    session, _ = session_of(contract)
    assert message_of(session, ones(5, 2, 10), lengths=np.array([5, 5])) == (
        "lengths: got lengths for a model without lengths, expected no lengths; export it with lengths=True (--lengths)"
    )


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint16"])
def test_lengths_of_any_integer_type_reach_the_backend_as_int32(contract: Contract, dtype: str) -> None:
    session, backend = session_of(contract, lengths=True)
    session.run(ones(5, 2, 10), lengths=np.array([5, 1], dtype))
    assert backend.feeds["lengths"].dtype == np.int32
    assert backend.feeds["lengths"].tolist() == [5, 1]


@pytest.mark.parametrize(("batch_first", "shape"), [(False, (5, 2, 10)), (True, (2, 5, 10))], ids=["tbi", "bti"])
def test_lengths_left_out_are_the_whole_time(contract: Contract, batch_first: bool, shape: tuple[int, ...]) -> None:
    session, backend = session_of(contract, lengths=True, batch_first=batch_first)
    session.run(ones(*shape))
    assert backend.feeds["lengths"].tolist() == [5, 5]


def test_a_state_left_out_is_zeros(contract: Contract) -> None:
    session, backend = session_of(contract)
    session.run(ones(5, 2, 10))
    assert [(name, value.shape, bool(value.any())) for name, value in backend.feeds.items() if name != "x"] == [
        ("h0", (4, 2, 4), False),
        ("c0", (4, 2, 4), False),
    ]


@pytest.mark.parametrize(
    ("changes", "x", "names"),
    [
        pytest.param({}, ones(5, 2, 10), ("output", "hn", "cn"), id="lstm-encoder"),
        pytest.param(GRU, ones(5, 2, 10), ("output", "hn"), id="gru-encoder"),
        pytest.param(STEP, ones(2, 10), ("hn", "cn"), id="lstm-step"),
        pytest.param({**STEP, "cell": "gru"}, ones(2, 10), ("hn",), id="gru-step"),
        pytest.param(UNROLLED, ones(3, 2, 10), ("output", "hn", "cn"), id="lstm-unrolled"),
    ],
)
def test_results_go_where_the_contract_says(
    contract: Contract, changes: dict[str, Any], x: Array, names: tuple[str, ...]
) -> None:
    session, _ = session_of(contract, **changes)
    output, state = session.run(x)
    places = {name: place for place, name in enumerate(names)}
    assert output.flat[0] == places.get("output", places["hn"])
    assert state.h.flat[0] == places["hn"]
    assert (None if state.c is None else state.c.flat[0]) == places.get("cn")


FULL = np.arange(5 * 2 * 10, dtype=np.float32).reshape(5, 2, 10)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(np.asfortranarray(FULL), id="fortran"),
        pytest.param(FULL[::-1], id="reversed"),
        pytest.param(np.repeat(FULL, 2, axis=0)[::2], id="strided"),
        pytest.param(FULL.swapaxes(0, 1).copy().swapaxes(0, 1), id="transposed"),
        pytest.param(np.broadcast_to(FULL[:1], (5, 2, 10)), id="broadcast"),
    ],
)
def test_arrays_reach_the_backend_in_c_order_with_their_values(contract: Contract, x: Array) -> None:
    session, backend = session_of(contract)
    state = State(np.asfortranarray(ones(4, 2, 4) * 2), ones(4, 2, 8)[..., ::2])
    assert state.c is not None
    session.run(x, state)
    assert all(value.flags.c_contiguous for value in backend.feeds.values())
    np.testing.assert_array_equal(backend.feeds["x"], x)
    np.testing.assert_array_equal(backend.feeds["h0"], state.h)
    np.testing.assert_array_equal(backend.feeds["c0"], state.c)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        pytest.param({}, (4, 3, 4), id="encoder"),
        pytest.param(STEP, (3, 4), id="step"),
        pytest.param(UNROLLED, (3, 4), id="unrolled"),
    ],
)
def test_the_initial_state_is_zeros_of_the_models_shape(
    contract: Contract, changes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    session, _ = session_of(contract, **changes)
    state = session.initial_state(3)
    assert state.c is not None
    assert [(value.shape, value.dtype.name, bool(value.any())) for value in (state.h, state.c)] == [
        (shape, "float32", False)
    ] * 2


@pytest.mark.parametrize(
    "shown",
    [pytest.param(lambda array: array.data, id="memoryview"), pytest.param(torch.from_numpy, id="torch")],
)
def test_views_reach_the_backend_without_a_copy(contract: Contract, shown: Callable[[Array], Any]) -> None:
    session, backend = session_of(contract, **ENCODER)
    x, h, c = FULL.copy(), ones(1, 2, 4), ones(1, 2, 4)
    session.run(shown(x), State(shown(h), shown(c)))
    for name, value in (("x", x), ("h0", h), ("c0", c)):
        assert type(backend.feeds[name]) is np.ndarray
        assert np.shares_memory(backend.feeds[name], value)
    step, stepped = session_of(contract, **STEP)
    step.step(shown(x[0]))
    assert np.shares_memory(stepped.feeds["x"], x)


def test_a_view_of_another_dtype_is_not_cast(contract: Contract) -> None:
    session, _ = session_of(contract)
    assert "got float64 (5, 2, 10), expected float32 (T, B, 10); cast" in message_of(
        session, torch.ones(5, 2, 10, dtype=torch.float64)
    )


def test_a_value_off_its_alignment_is_copied(contract: Contract) -> None:
    session, backend = session_of(contract)
    x = np.frombuffer(b"\0" + FULL.tobytes(), np.uint8)[1:].view(np.float32).reshape(FULL.shape)
    assert not x.flags.aligned
    session.run(x)
    assert backend.feeds["x"].flags.aligned
    np.testing.assert_array_equal(backend.feeds["x"], FULL)


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param([5, 1], id="list"),
        pytest.param(array.array("q", [5, 1]), id="array-module"),
        pytest.param(torch.tensor([5, 1]), id="torch"),
    ],
)
def test_lengths_may_be_a_list_or_a_view(contract: Contract, lengths: Any) -> None:
    session, backend = session_of(contract, lengths=True)
    session.run(ones(5, 2, 10), lengths=lengths)
    assert backend.feeds["lengths"].tolist() == [5, 1]


def test_zeros_are_of_the_calls_own_batch_and_cannot_be_written(contract: Contract) -> None:
    session, backend = session_of(contract)
    for batch in (2, 2, 3, 1, 3):
        session.run(ones(5, batch, 10))
        assert backend.feeds["c0"].shape == (4, batch, 4)
        assert not backend.feeds["c0"].any()
        assert not backend.feeds["c0"].flags.writeable


def test_a_state_on_the_device_stays_there(contract: Contract) -> None:
    held = NumpyBackend(contract, keeps_states=True)
    session = Session(contract, held)
    _, state = session.run(ones(5, 2, 10))
    session.run(ones(7, 2, 10), state)
    parts = dict(zip(("h0", "c0"), state.parts, strict=True))
    assert all(held.feeds[name] is part for name, part in parts.items())
    assert all(isinstance(part, HeldTensor) and part.copies == 0 for part in parts.values())


def test_a_state_on_another_backends_device_is_copied_to_the_host(contract: Contract) -> None:
    _, state = Session(contract, NumpyBackend(contract, keeps_states=True)).run(ones(5, 2, 10))
    session, backend = session_of(contract)
    session.run(ones(5, 2, 10), state)
    np.testing.assert_array_equal(backend.feeds["c0"], ones(4, 2, 4) * 2)


def test_a_state_on_the_device_must_fit_too(contract: Contract) -> None:
    session = Session(contract, NumpyBackend(contract, keeps_states=True))
    _, state = session.run(ones(5, 2, 10))
    assert message_of(session, ones(5, 3, 10), state).startswith("state 'h0': got batch 2, expected batch 3, as in x; ")


@pytest.mark.parametrize("keeps_states", [False, True], ids=["host", "device"])
def test_the_y_of_a_step_is_not_the_memory_of_its_state(contract: Contract, keeps_states: bool) -> None:
    step = changed(contract, directions=1, layers=1, form="step")
    session = Session(step, NumpyBackend(step, keeps_states))
    for out in (None, {"hn": ones(2, 4)}, ones(2, 4), {"output": ones(2, 4), "hn": ones(2, 4)}):
        y, state = session.step(ones(2, 10), out=out)
        y[...] = 7
        assert not state.h.any()


FORMS = [
    pytest.param(ENCODER, (5, 2, 10), {"output": (5, 2, 4), "hn": (1, 2, 4), "cn": (1, 2, 4)}, id="encoder"),
    pytest.param({**STEP, "cell": "gru"}, (2, 10), {"output": (2, 4), "hn": (2, 4)}, id="gru-step"),
    pytest.param(UNROLLED, (3, 2, 10), {"output": (3, 2, 4), "hn": (2, 4), "cn": (2, 4)}, id="unrolled"),
]


@pytest.mark.parametrize(("changes", "x", "shapes"), FORMS)
def test_results_are_the_callers_buffers(
    contract: Contract, changes: dict[str, Any], x: tuple[int, ...], shapes: dict[str, tuple[int, ...]]
) -> None:
    session, _ = session_of(contract, **changes)
    output, state = session.run(ones(*x))
    out = {name: ones(*shape) * 9 for name, shape in shapes.items()}
    written, last = session.run(ones(*x), out=out)
    assert (written is out["output"], last.h is out["hn"], last.c is out.get("cn")) == (True, True, True)
    np.testing.assert_array_equal(written, output)
    np.testing.assert_array_equal(last.h, state.h)
    alone = ones(*shapes["output"]) * 9
    written, last = session.run(ones(*x), out=alone)
    assert written is alone
    assert not any(np.shares_memory(last.h, value) for value in (alone, *out.values()))
    np.testing.assert_array_equal(alone, output)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(ENCODER, id="encoder"),
        pytest.param({**ENCODER, "batch_first": True}, id="batch-first"),
        pytest.param(STEP, id="step"),
        pytest.param({**UNROLLED, "steps": 1}, id="unrolled-1"),
    ],
)
def test_a_step_writes_its_y_into_a_buffer_without_a_time_axis(contract: Contract, changes: dict[str, Any]) -> None:
    session, backend = session_of(contract, **changes)
    expected, _ = session.step(ones(2, 10))
    for name in ("lone", "named"):
        y = ones(2, 4) * 9
        written, _ = session.step(ones(2, 10), out=y if name == "lone" else {"output": y})
        assert written is y
        np.testing.assert_array_equal(y, expected)
    h = np.empty_like(session.initial_state(2).h)
    written, state = session.step(ones(2, 10), out={"hn": h})
    assert (state.h is h, written.shape) == (True, (2, 4))
    runs = backend.runs
    with pytest.raises(InputError, match=r"^out 'output': got float32 \(1, 2, 4\), expected float32 \(2, 4\), "):
        session.step(ones(2, 10), out=ones(1, 2, 4))
    assert backend.runs == runs


def test_a_wrong_buffer_is_refused_before_the_backend_runs(contract: Contract) -> None:
    session, backend = session_of(contract)
    x = FULL.copy()
    for out in (ones(5, 2, 7), {"y": ones(5, 2, 8)}, {"hn": ones(4, 2, 5)}):
        assert message_of(session, x, out=out).startswith("out")
    assert "got memory of x" in message_of(session, x, out=x.reshape(-1)[:80].reshape(5, 2, 8))
    assert backend.runs == 0


def test_the_initial_state_of_a_gru_has_no_c(contract: Contract) -> None:
    session, _ = session_of(contract, **GRU)
    assert session.initial_state(1).c is None


def test_the_initial_state_takes_no_size_that_no_state_has(contract: Contract) -> None:
    session, _ = session_of(contract)
    with pytest.raises(InputError, match=r"sizes: got foo=3, expected none: .*; leave foo out"):
        session.initial_state(2, foo=3)


@pytest.mark.parametrize("batch", [0, -1, 1.0, "2", None])
def test_the_initial_state_needs_a_batch(contract: Contract, batch: Any) -> None:
    session, _ = session_of(contract)
    with pytest.raises(InputError) as caught:
        session.initial_state(batch)
    assert str(caught.value) == f"batch: got {batch!r}, expected a whole number ≥ 1; give the number of rows"


@pytest.mark.parametrize(
    ("changes", "fed", "y"),
    [
        pytest.param(ENCODER, (1, 2, 10), (2, 4), id="encoder"),
        pytest.param({**ENCODER, "batch_first": True}, (2, 1, 10), (2, 4), id="encoder-batch-first"),
        pytest.param(STEP, (2, 10), (2, 4), id="step"),
        pytest.param({**UNROLLED, "steps": 1}, (1, 2, 10), (2, 4), id="unrolled-1"),
    ],
)
def test_step_runs_one_time_step(
    contract: Contract, changes: dict[str, Any], fed: tuple[int, ...], y: tuple[int, ...]
) -> None:
    session, backend = session_of(contract, **changes)
    result, state = session.step(ones(2, 10))
    assert backend.feeds["x"].shape == fed
    assert result.shape == y
    assert state.h.shape == session.initial_state(2).h.shape


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        pytest.param({}, "a bidirectional encoder", id="bidirectional"),
        pytest.param(UNROLLED, "3 unrolled steps", id="unrolled-3"),
    ],
)
def test_a_model_without_a_single_next_step_refuses_step(contract: Contract, changes: dict[str, Any], got: str) -> None:
    session, backend = session_of(contract, **changes)
    with pytest.raises(InputError) as caught:
        session.step(ones(2, 10))
    assert str(caught.value) == (
        f"step: got {got}, expected a model with a single next step; use run, or export the decoder in form step"
    )
    assert backend.runs == 0


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(ENCODER, id="encoder"),
        pytest.param(STEP, id="step"),
        pytest.param({**UNROLLED, "steps": 1}, id="unrolled-1"),
    ],
)
@pytest.mark.parametrize(
    ("x", "got"),
    [(ones(1, 2, 10), "float32 (1, 2, 10)"), (np.ones((2, 10)), "float64 (2, 10)"), ([[1.0] * 10], "list")],
    ids=["rank", "float64", "list"],
)
def test_step_refuses_a_wrong_x(contract: Contract, changes: dict[str, Any], x: Any, got: str) -> None:
    session, _ = session_of(contract, **changes)
    with pytest.raises(InputError) as caught:
        session.step(x)
    assert str(caught.value).startswith(f"input 'x': got {got}, expected float32 (B, 10); ")


def test_a_closed_session_refuses_to_run(contract: Contract) -> None:
    session, backend = session_of(contract, **ENCODER)
    session.close()
    session.close()
    message = r"^session: got a call after close, expected an open session; load the model again$"
    with pytest.raises(SessionClosedError, match=message):
        session.run(ones(5, 2, 10))
    with pytest.raises(SessionClosedError, match=message):
        session.step(ones(2, 10))
    assert (backend.closed, backend.runs) == (1, 0)


class TimedBackend(NumpyBackend):
    """A backend with memory of its own, whose every run takes 2.5 ms there."""

    def resident(self, feeds: Mapping[str, Any]) -> Callable[[], float] | None:
        self.feeds = feeds
        return lambda: 2.5


def test_a_resident_run_is_a_call_of_its_session(contract: Contract) -> None:
    session = Session(contract, TimedBackend(contract))
    run = session.resident(ones(5, 2, 10))
    assert run is not None
    assert run() == 2.5
    session.close()
    with pytest.raises(SessionClosedError):
        run()
    with pytest.raises(SessionClosedError):
        session.resident(ones(5, 2, 10))


def test_a_backend_without_memory_of_its_own_has_no_resident_run(contract: Contract) -> None:
    session, _ = session_of(contract)
    assert session.resident(ones(5, 2, 10)) is None


class DoublingBackend:
    """A backend whose output is twice x, slowly enough for threads to meet in it; fails once it is closed."""

    device = "NumPy"

    def __init__(self) -> None:
        self.is_closed = False

    def run(self, feeds: Mapping[str, Any], out: Mapping[str, Array] | None = None) -> list[Any]:
        time.sleep(0.001)
        assert not self.is_closed
        return [feeds["x"] * 2, feeds["h0"], feeds["c0"]]

    def close(self) -> None:
        self.is_closed = True


def test_threads_get_their_own_results_until_another_closes(contract: Contract) -> None:
    backend = DoublingBackend()
    session = Session(changed(contract, layers=1, directions=1), backend)

    def hammer(number: int) -> int:
        x = np.full((1 + number, 2, 10), number, np.float32)
        for calls in itertools.count():
            try:
                output, _ = session.run(x)
            except SessionClosedError:
                return calls
            assert output.shape == x.shape
            assert (output == 2 * number).all()
        return 0

    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(hammer, number) for number in range(8)]
        time.sleep(0.1)
        session.close()
        assert backend.is_closed
        assert all(call.result(10) > 0 for call in calls)


def test_a_session_that_closes_inside_its_own_call_ends_it_first(contract: Contract) -> None:
    session, backend = session_of(contract, **ENCODER)
    run = backend.run

    def closing_run(feeds: Mapping[str, Any], out: Mapping[str, Array] | None = None) -> list[Any]:
        session.close()
        assert backend.closed == 0
        return run(feeds, out)

    backend.run = closing_run  # type: ignore[method-assign]
    assert session.run(ones(5, 2, 10))[0].shape == (5, 2, 4)
    assert backend.closed == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("call", ["run", "step", "resident"])
def test_a_session_is_refused_in_a_forked_child(contract: Contract, call: str) -> None:
    session, backend = session_of(contract, **STEP)
    pid = os.fork()
    if pid == 0:
        signal.alarm(5)
        try:
            getattr(session, call)(ones(2, 10))
        except ForkedError:
            session.close()
            os._exit(backend.runs + backend.closed)
        finally:
            os._exit(99)
    assert os.waitpid(pid, 0)[1] == 0
    assert session.step(ones(2, 10))[0].shape == (2, 4), "the parent's session goes on"


def test_a_session_closes_when_its_block_fails(contract: Contract) -> None:
    session, backend = session_of(contract)
    with pytest.raises(InputError), session:
        session.run(ones(1, 1, 1))
    assert backend.closed == 1


@pytest.fixture(scope="module", params=[nn.LSTM, nn.GRU], ids=["lstm", "gru"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(SEED)
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    rnnx.export(request.param(3, 5, 2), path)
    return path


@pytest.fixture(scope="module")
def x() -> Array:
    return np.random.default_rng(SEED).standard_normal((12, 3, 3), np.float32)


def same_state(left: State, right: State) -> None:
    np.testing.assert_allclose(left.h, right.h, rtol=0, atol=1e-6)
    if left.c is not None and right.c is not None:
        np.testing.assert_allclose(left.c, right.c, rtol=0, atol=1e-6)


def test_onnx_runtime_reads_any_memory_order(exported: Path, x: Array) -> None:
    with rnnx_runtime.load(exported) as session:
        output, state = session.run(x)
        for order in (np.asfortranarray(x), np.repeat(x, 2, axis=2)[..., ::2], x.swapaxes(0, 1).copy().swapaxes(0, 1)):
            again, last = session.run(order)
            np.testing.assert_array_equal(again, output)
            same_state(last, state)


def test_chunks_that_carry_the_state_equal_one_run(exported: Path, x: Array) -> None:
    with rnnx_runtime.load(exported) as session:
        whole, last = session.run(x)
        state: State | None = None
        chunks = []
        for chunk in np.split(x, [1, 3, 8]):
            output, state = session.run(chunk, state)
            chunks.append(output)
    np.testing.assert_allclose(np.concatenate(chunks), whole, rtol=0, atol=1e-6)
    assert state is not None
    same_state(state, last)


def test_steps_equal_one_run(exported: Path, x: Array) -> None:
    with rnnx_runtime.load(exported) as session:
        whole, last = session.run(x)
        state = session.initial_state(3)
        for now, expected in zip(x, whole, strict=True):
            y, state = session.step(now, state)
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
    same_state(state, last)


@pytest.mark.parametrize("module", [nn.LSTM, nn.GRU], ids=["lstm", "gru"])
def test_steps_of_a_batch_first_model_equal_one_run(tmp_path: Path, x: Array, module: type[Any]) -> None:
    torch.manual_seed(SEED)
    rnnx.export(module(3, 5, batch_first=True), tmp_path / "model.onnx")
    with rnnx_runtime.load(tmp_path / "model.onnx") as session:
        whole, last = session.run(x.swapaxes(0, 1))
        state = session.initial_state(3)
        for now, expected in zip(x, whole.swapaxes(0, 1), strict=True):
            y, state = session.step(now, state)
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
    same_state(state, last)


def test_results_are_fresh_and_arguments_stay_as_they_were(exported: Path, x: Array) -> None:
    with rnnx_runtime.load(exported) as session:
        given, start = x.copy(), session.initial_state(3)
        output, state = session.run(given, start)
        kept, kept_h = output.copy(), state.h.copy()
        session.run(-given, state)
    np.testing.assert_array_equal(output, kept)
    np.testing.assert_array_equal(state.h, kept_h)
    np.testing.assert_array_equal(given, x)
    assert not start.h.any()
    assert not any(np.shares_memory(result, value) for result in (output, state.h) for value in (given, start.h))
