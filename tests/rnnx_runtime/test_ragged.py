"""Batches of sequences of different lengths in parts: the values of one run, bit for bit, and only where it pays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

import rnnx
from rnnx_runtime import Session, load
from rnnx_runtime.ragged import RaggedRuns

ROWS, TIME = 40, 30

LAYERS: dict[str, nn.Module] = {
    "lstm": nn.LSTM(6, 64),
    "lstm-2-batch-first": nn.LSTM(6, 64, 2, batch_first=True),
    "gru": nn.GRU(6, 64),
    "gru-2-batch-first": nn.GRU(6, 64, 2, batch_first=True),
    "rnn": nn.RNN(6, 64),
    "lstm-projected": nn.LSTM(6, 64, proj_size=5),
}


@pytest.fixture(params=LAYERS)
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path = tmp_path / "layer.onnx"
    rnnx.export(LAYERS[request.param], path, rnnx.ExportOptions(lengths=True))
    with load(path, "ort-cpu") as session:
        yield session


def _ragged(session: Session) -> RaggedRuns:
    assert session._ragged is not None
    return session._ragged


def _batch(session: Session, lengths: NDArray[Any]) -> dict[str, Any]:
    chance = np.random.default_rng(0)
    sizes = {"T": TIME, "B": len(lengths)}
    feeds = {
        spec.name: chance.standard_normal(
            [sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims], np.float32
        )
        for spec in session.spec.inputs
        if spec.name != "lengths"
    }
    return feeds | {"lengths": lengths.astype(np.int32)}


def _drawn(seed: int, longest: int = TIME) -> NDArray[Any]:
    lengths = np.random.default_rng(seed).integers(1, longest // 2, ROWS)
    lengths[seed % ROWS] = longest
    return lengths


@pytest.mark.parametrize("seed", range(3))
def test_parts_give_the_values_of_one_run(session: Session, seed: int) -> None:
    feeds = _batch(session, _drawn(seed, TIME - seed))
    parts = _ragged(session).parts(feeds)
    assert len(parts) > 1
    together: list[Any] = session._backend.run(feeds)
    for spec, one, other in zip(
        session.spec.outputs, together, _ragged(session).run(feeds, parts, session._backend), strict=True
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(other, one, err_msg=spec.name)


@pytest.mark.parametrize("few", [1, 2, 3, 5])
def test_few_rows_that_go_on_long_round_as_in_one_run(session: Session, few: int) -> None:
    lengths = np.array([3] * (ROWS - few) + [TIME] * few)
    feeds = _batch(session, lengths)
    parts = _ragged(session).parts(feeds)
    together: list[Any] = session._backend.run(feeds)
    for one, other in zip(
        together, _ragged(session).run(feeds, parts, session._backend) if parts else (), strict=False
    ):
        np.testing.assert_array_equal(other, one)


def test_a_run_of_a_session_takes_parts_from_any_state(session: Session) -> None:
    feeds = _batch(session, _drawn(1))
    states = {spec.name: feeds[spec.name] for spec in session.spec.state_specs}
    x = next(feeds[spec.name] for spec in session.spec.plain_inputs)
    y, state = session.run(x, states, feeds["lengths"])
    session._ragged = None
    expected, following = session.run(x, states, feeds["lengths"])
    np.testing.assert_array_equal(y, expected)
    for name in following:
        np.testing.assert_array_equal(state[name], following[name])


@pytest.mark.parametrize(
    "lengths", [np.full(ROWS, TIME), _drawn(0)[:8], np.arange(ROWS) % 8 + TIME - 8], ids=["equal", "few", "similar"]
)
def test_one_run_is_kept_where_parts_do_not_pay(session: Session, lengths: NDArray[Any]) -> None:
    assert _ragged(session).parts(_batch(session, lengths)) == []


@pytest.mark.parametrize(("is_bidirectional", "has_lengths"), [(True, True), (False, False)])
def test_a_backward_direction_or_no_lengths_has_no_parts(
    is_bidirectional: bool, has_lengths: bool, tmp_path: Path
) -> None:
    layer = nn.LSTM(3, 4, bidirectional=is_bidirectional)
    rnnx.export(layer, tmp_path / "m.onnx", rnnx.ExportOptions(lengths=has_lengths))
    with load(tmp_path / "m.onnx", "ort-cpu") as session:
        assert session._ragged is None


def test_padding_that_holds_nan_is_never_looked_at(session: Session) -> None:
    lengths = _drawn(2)
    feeds = _batch(session, lengths)
    x = next(feeds[spec.name] for spec in session.spec.plain_inputs)
    is_batch_first = x.shape[0] == ROWS
    for row, length in enumerate(lengths.tolist()):
        (x[row, length:] if is_batch_first else x[length:, row])[...] = np.nan
    y, state = session.run(x, None, lengths)
    assert np.isfinite(y).all()
    assert all(np.isfinite(state[name]).all() for name in state)
