"""A stream on a model whose batch is fixed: its rows together are the conversation."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from rnnx_runtime import InputError, Session
from rnnx_runtime.contract import Batching, Contract, Source, StatePair, Streaming, TensorSpec
from rnnx_runtime.pool import StreamPool
from rnnx_runtime.stream import Stream

CONTRACT = Contract(
    inputs=(
        TensorSpec(name="x", dtype="float32", dims=(1, "T", 3)),
        TensorSpec(name="h", dtype="float32", dims=(2, 1, 3)),
    ),
    outputs=(
        TensorSpec(name="y", dtype="float32", dims=(1, "T", 3)),
        TensorSpec(name="hn", dtype="float32", dims=(2, 1, 3)),
    ),
    states=(StatePair(input="h", output="hn"),),
    lengths=(),
    recurrent=(),
    streaming=Streaming(kind="exact"),
    batching=Batching(rows="unknown", reason="no axis is named B, on which rows could be changed"),
    precision="float32",
    source=Source(file="", module="", weights_sha256="ab"),
)


class _Sums:
    """A backend that adds up its frames."""

    device = "NumPy"

    def run(self, feeds: Mapping[str, Any], out: Mapping[str, Any] | None = None) -> list[Any]:
        y = np.cumsum(feeds["x"], axis=1, dtype=np.float32) + feeds["h"][:1]
        return [y, np.repeat(y[:, -1:], 2, axis=0)]

    def close(self) -> None:
        pass


def _session(contract: Contract = CONTRACT) -> Session:
    return Session(contract, _Sums())


def test_frames_and_chunks_keep_the_fixed_axis() -> None:
    x = np.random.default_rng(0).standard_normal((1, 5, 3)).astype(np.float32)
    whole, stream = Stream(_session()).push(x), Stream(_session())
    parts = [stream.push(x[:, 0])[:, np.newaxis], stream.push(x[:, 1:4]), stream.push(x[:, 4:])]
    assert np.allclose(np.concatenate(parts, axis=1), whole)
    assert stream.frames == 5


def test_a_snapshot_goes_on_where_it_was_taken() -> None:
    stream = Stream(_session())
    stream.push(np.ones((1, 3), np.float32))
    other = Stream(_session(), stream.snapshot())
    assert np.array_equal(other.push(np.ones((1, 3), np.float32)), np.full((1, 3), 2, np.float32))


def test_a_tensor_without_batch_beside_others_with_one_is_refused() -> None:
    inputs = (TensorSpec(name="x", dtype="float32", dims=("B", "T", 3)), CONTRACT.inputs[1])
    session = _session(dataclasses.replace(CONTRACT, inputs=inputs))
    with pytest.raises(InputError, match=r"stream of 'y': got a tensor \(1, T, 3\) without an axis of batch"):
        Stream(session)


def test_a_pool_has_no_rows_to_give_away() -> None:
    with pytest.raises(InputError, match=r"run each stream by itself with Session[.]stream"):
        StreamPool(_session())
