"""Models that give results late, or take several frames a step, in a pool: as lone streams do, to the end."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx_runtime.pool.fakes import in_threads
from tests.rnnx_runtime.pool.schedules import run_schedules
from torch import Tensor, nn
from torch.nn import functional

import rnnx
import rnnx_runtime
from rnnx.modules.model_options import ModelOptions
from rnnx_runtime.errors import ContractError, DeadlineExceeded, InputError
from rnnx_runtime.pool import PoolOptions, StreamPool
from rnnx_runtime.session import Session


class Front(nn.Module):
    """A strided front, a layer, and a symmetric convolution behind it: two frames a step, two results late."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv1d(4, 5, 3, 2, 1)
        self.layer = nn.GRU(5, 6, batch_first=True)
        self.last = nn.Conv1d(6, 3, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        output = self.layer(torch.relu(self.front(x)).transpose(1, 2))[0]
        result: Tensor = self.last(output.transpose(1, 2))
        return result


class Conditioned(nn.Module):
    """A look-ahead of one, with a vector for each row beside the frames."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.given = nn.Conv1d(4, 5, 3, padding=1), nn.Linear(3, 5)
        self.layer = nn.LSTM(5, 4, batch_first=True)

    def forward(self, x: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        frames = self.conv(x.transpose(1, 2)).transpose(1, 2) + self.given(speaker).unsqueeze(1)
        output, _ = self.layer(frames)
        return output, torch.sigmoid(output.sum(-1))


class BandsFirst(nn.Module):
    """A causal convolution whose frames are the last axis, before and behind a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv1d(4, 4, 3), nn.LSTM(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.conv(functional.pad(x, (2, 0)))
        result: Tensor = self.layer(frames.permute(2, 0, 1))[0].permute(1, 2, 0)
        return result


class Turned(BandsFirst):
    """The same with time in front of the bands."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


MODELS: dict[str, tuple[type[nn.Module], tuple[Tensor, ...]]] = {
    "front": (Front, (torch.randn(2, 4, 24),)),
    "conditioned": (Conditioned, (torch.randn(2, 12, 4), torch.randn(2, 3))),
    "bands-first": (BandsFirst, (torch.randn(2, 4, 12),)),
}


Exported = Callable[[str], Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The file of a model, made once."""
    folder = tmp_path_factory.mktemp("ends")

    def export(name: str) -> Path:
        kind, example = MODELS[name]
        found = folder / f"{name}.onnx"
        if not found.exists():
            torch.manual_seed(0)
            rnnx.export(kind().eval(), found, ModelOptions(stateful=True), example_inputs=example)
        return found

    return export


@pytest.fixture(params=MODELS)
def path(request: pytest.FixtureRequest, exported: Exported) -> Path:
    return exported(request.param)


@pytest.fixture
def front(exported: Exported) -> Path:
    return exported("front")


@pytest.fixture
def session(path: Path) -> Iterator[Session]:
    with rnnx_runtime.load(path, "ort-cpu") as found:
        yield found


@pytest.fixture
def pool(path: Path) -> Iterator[StreamPool]:
    options = PoolOptions(max_batch=4, max_frames=3, max_streams=8)
    with StreamPool(rnnx_runtime.load(path, "ort-cpu"), options) as found:
        yield found


def _frames(session: Session, count: int, seed: int) -> Any:
    """A chunk of so many steps, or frames of the last one."""
    chance, found = np.random.default_rng(seed), {}
    for own in session.spec.plain_inputs:
        sizes = [count if isinstance(dim, str) else dim for dim in own.dims if dim != "B"]
        found[own.name] = chance.standard_normal(sizes, np.float32)
    return found if len(found) > 1 else next(iter(found.values()))


def _unit(session: Session) -> int:
    return 2 if any("2*T" in own.dims for own in session.spec.plain_inputs) else 1


def _same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            _same(found[name], value)
    else:
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-5)


def test_streams_in_a_pool_give_what_lone_streams_give_to_the_end(session: Session, pool: StreamPool) -> None:
    chance, unit = np.random.default_rng(1), _unit(session)
    pairs = [(pool.open(), session.stream()) for _ in range(7)]
    for turn in range(6):
        waiting = []
        for index in chance.permutation(7)[: chance.integers(1, 8)].tolist():
            x = _frames(session, unit * int(chance.integers(1, 6)), 10 * turn + index)
            waiting.append((pairs[index][0].submit(x), pairs[index][1].push(x)))
        for push, expected in waiting:
            _same(push.result(), expected)
    for index, (stream, lone) in enumerate(pairs):
        last = _frames(session, index + 1, index)
        _same(stream.flush(last), lone.flush(last))


def test_a_stream_that_ends_and_one_that_goes_on_share_steps(session: Session, pool: StreamPool) -> None:
    x, unit = _frames(session, 4 * _unit(session), 5), _unit(session)
    (ending, going), (lone_ending, lone_going) = (pool.open(), pool.open()), (session.stream(), session.stream())
    for stream in (ending, going, lone_ending, lone_going):
        stream.push(x)
    last = _frames(session, 2 * unit, 6)
    waiting = going.submit(last)
    _same(ending.flush(last), lone_ending.flush(last))
    _same(waiting.result(), lone_going.push(last))
    _same(going.push(x), lone_going.push(x))


def test_a_stream_that_was_flushed_takes_no_push_until_it_is_reset(session: Session, pool: StreamPool) -> None:
    x = _frames(session, 2 * _unit(session), 3)
    stream, lone = pool.open(), session.stream()
    stream.push(x)
    waiting = [stream.submit(x)]
    stream.flush(x)
    for refused in (stream.push, stream.flush):
        with pytest.raises(InputError, match=r"flush\(\) has ended"):
            refused(x)
    assert waiting[0].result() is not None
    stream.reset()
    _same(stream.push(x), lone.push(x))


def test_any_schedule_gives_what_lone_streams_give_bit_for_bit(path: Path) -> None:
    tally = run_schedules(path, examples=25, steps=50, max_frames=1)
    assert tally.bitwise == tally.comparisons > 0
    assert min(tally.flushes, tally.together, tally.swaps, tally.cancelled, tally.late) > 0


def test_pushes_that_wait_behind_a_flush_are_refused_one_by_one(front: Path) -> None:
    with StreamPool(rnnx_runtime.load(front, "ort-cpu")) as pool, pool.open() as stream, pool.open() as other:
        x = np.ones((4, 4), np.float32)
        given = stream.checked_last(x)
        assert given is not None
        flush = pool.submit(stream.seat, given, None)
        after = stream.submit(x)
        beside = other.submit(x)
        assert flush.result().shape == (3, 2)
        with pytest.raises(InputError, match="ended"):
            after.result()
        assert beside.result().shape[0] == 3
        assert pool.metrics().rejections["failed"] == 1


def test_a_flush_that_comes_too_late_leaves_the_stream_as_it_was(front: Path) -> None:
    with rnnx_runtime.load(front, "ort-cpu") as session, StreamPool(rnnx_runtime.load(front, "ort-cpu")) as pool:
        stream, lone, x = pool.open(), session.stream(), np.ones((4, 6), np.float32)
        _same(stream.push(x), lone.push(x))
        with pytest.raises(DeadlineExceeded):
            stream.flush(x, timeout_s=0.0)
        _same(stream.push(x), lone.push(x))
        _same(stream.flush(), lone.flush())


def test_a_snapshot_knows_where_a_stream_was_and_whether_it_had_ended(session: Session, pool: StreamPool) -> None:
    x = _frames(session, 3 * _unit(session), 3)
    stream, lone = pool.open(), session.stream()
    stream.push(x)
    lone.push(x)
    again = pool.open(snapshot=stream.snapshot())
    _same(again.push(x), lone.push(x))
    _same(again.flush(x), lone.flush(x))
    if session.spec.streaming.end:
        for ended in (pool.open(snapshot=again.snapshot()), session.stream(again.snapshot())):
            with pytest.raises(InputError, match="ended"):
                ended.push(x)


def test_a_push_of_no_multiple_is_refused_and_changes_nothing(front: Path) -> None:
    with StreamPool(rnnx_runtime.load(front, "ort-cpu")) as pool, pool.open() as stream:
        with pytest.raises(InputError, match=r"a chunk of 3 frames, expected a multiple of 2"):
            stream.push(np.ones((4, 3), np.float32))
        with pytest.raises(InputError, match=r"expected float32, a chunk \(4, 2\*T\)"):
            stream.push(np.ones(4, np.float32))
        assert stream.push(np.ones((4, 2), np.float32)).shape == (3, 0)


def test_many_streams_pushed_at_once_give_their_results_row_by_row(front: Path) -> None:
    x = np.random.default_rng(0).standard_normal((5, 4, 2), np.float32)
    with rnnx_runtime.load(front, "ort-cpu") as session, StreamPool(rnnx_runtime.load(front, "ort-cpu")) as pool:
        pairs = [(pool.open(), session.stream()) for _ in range(5)]
        streams = [stream for stream, _ in pairs]
        for stream, lone in pairs[:2]:
            for _ in range(2):
                _same(stream.push(x[0]), lone.push(x[0]))
        for _ in range(3):
            found = pool.push_many(streams, x).outputs
            for (_, lone), own, row in zip(pairs, found, x, strict=True):
                _same(own, lone.push(row))
        with pytest.raises(InputError, match=r"\(5, 4, 2\), 2 frames for each stream"):
            pool.push_many(streams, x[:, :, :1])


def test_an_event_loop_can_end_a_sequence(front: Path) -> None:
    async def talk(pool: StreamPool) -> list[Any]:
        async with pool.open() as stream:
            results = [await stream.push(x), await stream.flush(x[:, :3])]
            with pytest.raises(InputError, match="ended"):
                await stream.push(x)
            return results

    x = np.ones((4, 8), np.float32)
    with rnnx_runtime.load(front, "ort-cpu") as session, StreamPool(rnnx_runtime.load(front, "ort-cpu")) as pool:
        lone = session.stream()
        for found, expected in zip(asyncio.run(talk(pool)), (lone.push(x), lone.flush(x[:, :3])), strict=True):
            _same(found, expected)


def test_inputs_without_time_must_be_given_at_the_end_too(exported: Exported) -> None:
    path = exported("conditioned")
    x, speaker = np.ones((4, 4), np.float32), np.ones(3, np.float32)
    with rnnx_runtime.load(path, "ort-cpu") as session, StreamPool(rnnx_runtime.load(path, "ort-cpu")) as pool:
        for stream in (session.stream(), pool.open()):
            stream.push({"x": x, "speaker": speaker})
            with pytest.raises(InputError, match=r"no 'speaker', which has no axis of time"):
                stream.flush()
            assert stream.flush({"x": x[:0], "speaker": speaker})["output_0"].shape == (1, 4)


def test_a_plain_model_ends_its_sequence_too(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rnnx.export(nn.LSTM(3, 4), path)
    x = np.ones(3, np.float32)
    with rnnx_runtime.load(path, "ort-cpu") as session, StreamPool(rnnx_runtime.load(path, "ort-cpu")) as pool:
        for stream in (session.stream(), pool.open()):
            assert stream.push(x).shape == (4,)
            assert stream.flush(x).shape == (1, 4)
            with pytest.raises(InputError, match="ended"):
                stream.flush()
            stream.reset()
            assert stream.flush(x[None][:0]).shape == (0, 4)
            stream.reset()
            assert stream.flush().shape == (0, 4)


def test_an_empty_last_chunk_disturbs_no_other_stream(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rnnx.export(nn.LSTM(3, 4), path)
    x = np.ones(3, np.float32)
    with StreamPool(rnnx_runtime.load(path, "ort-cpu")) as pool:
        streams = [pool.open() for _ in range(4)]
        for _ in range(20):
            pushes = [stream.submit(x) for stream in streams[1:]]
            assert streams[0].flush(x[None][:0]).shape == (0, 4)
            assert all(push.result().shape == (4,) for push in pushes)
            streams[0].reset()
        assert pool.describe()["status"] == "serving"


def test_push_many_refuses_streams_that_have_ended(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rnnx.export(nn.LSTM(3, 4), path)
    x = np.ones((2, 3), np.float32)
    with StreamPool(rnnx_runtime.load(path, "ort-cpu")) as pool:
        ended, going = pool.open(), pool.open()
        in_threads([lambda: pool.push_many([ended, going], x).outputs])
        ended.flush()
        for _ in range(3):
            (found,) = in_threads([lambda: pool.push_many([ended, going], x)])
            assert list(found.errors) == [0]
            assert "ended" in str(found.errors[0])
        ended.reset()
        assert in_threads([lambda: pool.push_many([ended, going], x)])[0]


def test_a_flush_with_nothing_to_run_keeps_its_deadline(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rnnx.export(nn.LSTM(3, 4), path)
    with StreamPool(rnnx_runtime.load(path, "ort-cpu")) as pool, pool.open() as stream:
        with pytest.raises(InputError, match="timeout_s"):
            stream.flush(timeout_s="x")  # type: ignore[arg-type]
        with pytest.raises(DeadlineExceeded):
            stream.flush(timeout_s=0.0)
        assert stream.push(np.ones(3, np.float32)).shape == (4,)


def test_no_swap_changes_how_a_chunk_lies_or_what_may_be_looked_up(exported: Exported, tmp_path: Path) -> None:
    turned, small, large = (tmp_path / f"{name}.onnx" for name in ("turned", "small", "large"))
    rnnx.export(Turned().eval(), turned, ModelOptions(stateful=True), example_inputs=(torch.randn(2, 12, 4),))
    _refuses(exported("bands-first"), turned, "input x, its time")
    for rows, path in ((11, large), (5, small)):
        model = nn.Sequential(nn.Embedding(rows, 4), nn.GRU(4, 4, batch_first=True)).eval()
        rnnx.export(model, path, ModelOptions(stateful=True), example_inputs=(torch.randint(0, 5, (2, 6)),))
    _refuses(large, small, "rows looked up")


def _refuses(path: Path, other: Path, told: str) -> None:
    """A pool of a file refuses the other one in its place, and tells why."""
    with (
        StreamPool(rnnx_runtime.load(path, "ort-cpu")) as pool,
        rnnx_runtime.load(other, "ort-cpu") as session,
        pytest.raises(ContractError, match=told),
    ):
        pool.swap(session)
