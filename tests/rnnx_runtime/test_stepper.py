"""A stepper gives what `Session.step` gives from state to state, bound or not."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.contracts import changed
from tests.rnnx_runtime.test_stream import DeviceDecay
from tests.test_every_model import KINDS
from torch import nn

import rnnx
import rnnx_runtime
from rnnx_runtime import BackendError, Contract, InputError, Session, SessionClosedError, State
from rnnx_runtime.stepper import Stepper

Array = NDArray[Any]

MODULES: dict[str, tuple[Any, rnnx.ExportOptions | None]] = {
    "lstm": (lambda: nn.LSTM(5, 8), None),
    "lstm-2-batch-first": (lambda: nn.LSTM(5, 8, 2, batch_first=True), None),
    "gru-lengths": (lambda: nn.GRU(5, 8), rnnx.ExportOptions(lengths=True)),
    "lstm-float64": (lambda: nn.LSTM(5, 8).double(), None),
    "lstm-projected": (lambda: nn.LSTM(5, 8, proj_size=3), None),
    "cell": (lambda: nn.LSTMCell(5, 8), None),
    "gru-cell": (lambda: nn.GRUCell(5, 8), None),
    "unrolled-1": (lambda: nn.LSTMCell(5, 8), rnnx.ExportOptions(form="unrolled", steps=1)),
}
WHOLE = ("scorer", "keywords", "policy")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, found = tmp_path_factory.mktemp("models"), {}
    torch.manual_seed(20265)
    for name, (make, options) in MODULES.items():
        found[name] = folder / f"{name}.onnx"
        rnnx.export(make(), found[name], options)
    for name in WHOLE:
        kind, found[name] = KINDS[name], folder / f"{name}.onnx"
        rnnx.export(kind.make().eval(), found[name], kind.options, example_inputs=kind.example)
    return found


@pytest.fixture(params=[*MODULES, *WHOLE])
def session(files: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Session]:
    with rnnx_runtime.load(files[request.param], "ort-cpu") as opened:
        yield opened


@pytest.fixture
def lstm(files: dict[str, Path]) -> Iterator[Session]:
    with rnnx_runtime.load(files["lstm"], "ort-cpu") as opened:
        yield opened


def inputs_of(session: Session, batch: int, chance: np.random.Generator) -> Any:
    """A step's inputs, by name where there are several."""
    values = {}
    for spec in session.spec.plain_inputs:
        dims = [batch if dim == "B" else int(dim) for dim in spec.dims if dim != "T"]
        if session.spec.bare and session.spec.bare.form == "unrolled":
            dims = dims[1:]
        whole = spec.dtype.startswith("int")
        values[spec.name] = (chance.integers(0, 11, dims) if whole else chance.standard_normal(dims)).astype(spec.dtype)
    return next(iter(values.values())) if len(values) == 1 else values


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict | State):
        return list(found) == list(expected) and all(same(found[name], expected[name]) for name in expected)
    return bool(
        found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()
    )


def is_bound(stepper: Stepper) -> bool:
    return stepper._bound is not None


@pytest.mark.parametrize("copy", [True, False], ids=["copies", "views"])
def test_steps_equal_those_of_the_session_bit_for_bit_while_batches_change(session: Session, copy: bool) -> None:
    chance = np.random.default_rng(1)
    for batches in ((1, 1, 1, 1), (3, 3, 3, 1, 3), (2,)):
        state: Any = session.initial_state(batches[0])
        stepper = session.stepper(state, copy=copy)
        previous = None
        for batch in batches:
            if previous is not None and batch != previous:
                state = session.initial_state(batch)
                stepper.reset(state)
            previous, x = batch, inputs_of(session, batch, chance)
            expected, state = session.step(x, state)
            found = stepper.step(x)
            assert same(found, expected)
            assert same(stepper.state, state)
        if batches == (1, 1, 1, 1):
            assert is_bound(stepper)


def test_a_mapping_and_an_array_may_alternate(session: Session) -> None:
    if len(session.spec.plain_inputs) != 1:
        pytest.skip("a model of several inputs takes mappings alone")
    chance, name, state = np.random.default_rng(2), session.spec.plain_inputs[0].name, session.initial_state(2)
    stepper = session.stepper()
    for turn in range(6):
        x = inputs_of(session, 2, chance)
        expected, state = session.step({name: x}, state)
        found = stepper.step({name: x} if turn % 2 or len(session.spec.plain_outputs) > 1 else x)
        assert same(found, expected if isinstance(found, dict) else next(iter(expected.values())))


def test_results_and_states_are_the_callers(session: Session) -> None:
    """Writing to what a step gave changes no later step, and a later step changes nothing that was given."""
    chance, stepper, state = np.random.default_rng(3), session.stepper(), session.initial_state(2)
    kept: list[tuple[Any, Any]] = []
    for _ in range(5):
        x = inputs_of(session, 2, chance)
        expected, state = session.step(x, state)
        found = stepper.step(x)
        kept.append((found, expected))
        for value in (found if isinstance(found, dict) else {"": found}).values():
            before = value.copy()
            value[...] = 0
            value[...] = before
        held = stepper.state
        for part in held.values():
            part[...] = 9
    assert all(same(found, expected) for found, expected in kept)
    assert same(stepper.state, state)


def test_views_are_read_only_and_overwritten_by_the_next_step(lstm: Session) -> None:
    stepper, x = lstm.stepper(copy=False), np.ones((1, 5), np.float32)
    for _ in range(2):
        stepper.step(x)
    first = stepper.step(x)
    before = first.copy()
    with pytest.raises(ValueError, match="read-only"):
        first[...] = 0
    stepper.step(2 * x)
    assert not np.array_equal(first, before)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(np.ones((5, 2), np.float32).T, id="transposed"),
        pytest.param(np.ones((4, 5), np.float32)[::2], id="strided"),
        pytest.param(torch.ones(2, 5), id="tensor"),
        pytest.param(np.ones((2, 5), np.float32).data, id="memoryview"),
    ],
)
def test_whatever_shows_an_array_is_taken_at_any_step(lstm: Session, x: Any) -> None:
    stepper, state = lstm.stepper(), lstm.initial_state(2)
    for turn in range(6):
        own = x if turn % 2 else np.ones((2, 5), np.float32)
        expected, state = lstm.step(own, state)
        assert same(stepper.step(own), expected)


@pytest.mark.parametrize(
    "x", [np.ones((2, 5)), np.ones((2, 4), np.float32), np.ones((1, 2, 5), np.float32), [[1.0] * 5] * 2, {"y": 1}]
)
def test_a_wrong_input_is_refused_as_a_step_refuses_it_and_changes_nothing(lstm: Session, x: Any) -> None:
    stepper, good, state = lstm.stepper(), np.ones((2, 5), np.float32), lstm.initial_state(2)
    for _ in range(4):
        expected, state = lstm.step(good, state)
        assert same(stepper.step(good), expected)
        with pytest.raises(InputError) as wanted:
            lstm.step(x, state)
        with pytest.raises(InputError) as found:
            stepper.step(x)
        assert str(found.value) == str(wanted.value)


def test_another_batch_without_its_state_is_refused_and_the_old_one_goes_on(lstm: Session) -> None:
    stepper, x, state = lstm.stepper(), np.ones((2, 5), np.float32), lstm.initial_state(2)
    for _ in range(3):
        expected, state = lstm.step(x, state)
        assert same(stepper.step(x), expected)
    with pytest.raises(InputError, match="state"):
        stepper.step(np.ones((3, 5), np.float32))
    expected, _ = lstm.step(x, state)
    assert same(stepper.step(x), expected)


def test_a_token_that_no_row_has_is_refused_once_bound_too(files: dict[str, Path]) -> None:
    with rnnx_runtime.load(files["keywords"], "ort-cpu") as session:
        assert session.spec.table_sizes
        stepper, pitch = session.stepper(), np.zeros((1, 2), np.float32)
        for _ in range(3):
            stepper.step({"tokens": np.array([1]), "pitch": pitch})
        before = stepper.state
        for token in (-1, 10**6):
            with pytest.raises(InputError, match="the rows of the table"):
                stepper.step({"tokens": np.array([token]), "pitch": pitch})
        assert same(stepper.state, before)


def test_reset_goes_on_from_a_copy_or_from_zeros(lstm: Session) -> None:
    x, start = np.ones((2, 5), np.float32), lstm.initial_state(2)
    start["h0"][...] = 0.5
    stepper = lstm.stepper(start)
    for given in (start, None, start):
        stepper.reset(given)
        expected, _ = lstm.step(x, given)
        kept = {name: value.copy() for name, value in start.items()}
        for value in start.values():
            value[...] = 7
        assert same(stepper.step(x), expected)
        for name, value in start.items():
            value[...] = kept[name]


def test_a_step_that_fails_leaves_the_state(lstm: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    stepper, x = lstm.stepper(), np.ones((1, 5), np.float32)
    for _ in range(3):
        stepper.step(x)
    before, bound = stepper.state, stepper._bound
    assert bound is not None

    def fail() -> None:
        raise BackendError("a run", got="a fault", expected="none", remedy="retry")

    with monkeypatch.context() as patch:
        patch.setattr(bound, "_runs", [fail, fail])
        with pytest.raises(BackendError):
            stepper.step(x)
    assert same(stepper.state, before)
    expected, _ = lstm.step(x, before)
    assert same(stepper.step(x), expected)


def test_a_closed_session_takes_no_step_and_keeps_no_binding(lstm: Session) -> None:
    stepper, x = lstm.stepper(), np.ones((1, 5), np.float32)
    for _ in range(3):
        stepper.step(x)
    before = stepper.state
    lstm.close()
    with pytest.raises(SessionClosedError):
        stepper.step(x)
    assert stepper._bound is not None
    assert all(run._binding is None for run in stepper._bound._runs)  # type: ignore[attr-defined]
    assert same(stepper.state, before)


def test_a_stepper_that_is_gone_leaves_no_binding_behind(lstm: Session) -> None:
    x = np.ones((1, 5), np.float32)
    for _ in range(3):
        stepper = lstm.stepper()
        for _ in range(3):
            stepper.step(x)
    del stepper
    gc.collect()
    assert len(lstm._backend._bound) == 0  # type: ignore[attr-defined]


def test_a_backend_that_does_not_bind_steps_all_the_same_and_leaves_states_on_its_device(contract: Contract) -> None:
    spec = changed(contract, layers=1, directions=1)
    backend = DeviceDecay(spec)
    session = Session(spec, backend)
    stepper, other, state = session.stepper(), Session(spec, DeviceDecay(spec)), None
    for turn in range(4):
        x = np.full((2, 10), turn, np.float32)
        expected, state = other.step(x, state)
        assert same(stepper.step(x), expected)
    assert not is_bound(stepper)
    assert stepper.state.is_on_device


def test_a_model_without_a_next_step_or_states_has_no_stepper(contract: Contract) -> None:
    for changes, match in (
        ({"directions": 2}, "step: got a bidirectional encoder"),
        ({"form": "unrolled", "steps": 3, "directions": 1}, "step: got 3 unrolled steps"),
        ({"state_inputs": False, "directions": 1}, "stepper: got a model without state inputs"),
    ):
        spec = changed(contract, layers=1, **changes)
        with pytest.raises(InputError, match=match):
            Session(spec, DeviceDecay(spec)).stepper()


def test_the_state_of_a_stepper_that_knows_no_batch_is_refused(lstm: Session) -> None:
    with pytest.raises(InputError, match="neither stepped nor been given a state"):
        _ = lstm.stepper().state
