from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.pool.fakes import Array, Lone, session_of

from rnnx_runtime import ContractError, InputError, State
from rnnx_runtime.pool.batched_model import BatchedModel

FORMS: dict[str, dict[str, Any]] = {
    "encoder": {},
    "encoder-gru": {"cell": "gru"},
    "encoder-2-layers": {"layers": 2},
    "encoder-batch-first": {"batch_first": True},
    "encoder-lengths": {"lengths": True},
    "step": {"form": "step"},
    "step-gru": {"form": "step", "cell": "gru"},
    "unrolled-1": {"form": "unrolled", "steps": 1},
}
FRAMES, ROWS = 3, 4


@pytest.mark.parametrize("changes", FORMS.values(), ids=FORMS)
def test_rows_of_frames_give_what_each_gives_alone(changes: dict[str, Any]) -> None:
    session, _ = session_of(**changes)
    model = BatchedModel(session)
    x = np.random.default_rng(0).integers(0, 9, (FRAMES, ROWS, 3)).astype(np.float32)
    state = State({name: value + 1 for name, value in session.initial_state(ROWS).items()})
    outputs = []
    for index in range(0, FRAMES, 3 if model.takes_chunks else 1):
        frames = x[index : index + 3] if model.takes_chunks else x[index : index + 1]
        (y,), state = model.run([frames if model.timed[0] else frames[0]], state)
        outputs.append(y)
    found: Array = np.concatenate(outputs)
    assert found.shape == (FRAMES, ROWS, 4)
    for row in range(ROWS):
        ones = State({name: value + 1 for name, value in session.initial_state(1).items()})
        assert np.array_equal(Lone(session, ones).push(x[:, row]), found[:, row])


@pytest.mark.parametrize("frames", [1, 3])
def test_a_batch_first_model_gets_rows_first(frames: int) -> None:
    session, backend = session_of(batch_first=True)
    x = np.arange(frames * 2 * 3, dtype=np.float32).reshape(frames, 2, 3)
    (y,), _ = BatchedModel(session).run([x], session.initial_state(2))
    assert np.array_equal(backend.frames[0], x)
    assert y.shape == (frames, 2, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"directions": 2}, "a bidirectional encoder, which needs the whole sequence", id="bidirectional"),
        pytest.param({"state_inputs": False}, "a model without state inputs", id="no-state-inputs"),
        pytest.param({"form": "unrolled", "steps": 3}, "3 unrolled steps", id="unrolled-3"),
    ],
)
def test_a_model_without_a_single_next_step_is_refused(changes: dict[str, Any], message: str) -> None:
    session, _ = session_of(**changes)
    with pytest.raises(InputError, match=f"pool: got {message}, expected a model "):
        BatchedModel(session)


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        pytest.param({"cell": "gru"}, "layers gru .*, expected .*layers lstm", id="cell"),
        pytest.param({"hidden_size": 5}, "state c0 float32 .*5.*, expected state c0 float32 .*4", id="hidden"),
        pytest.param({"projection_size": 2}, "state h0 float32 .*2.*, expected state h0 float32 .*4", id="projection"),
        pytest.param({"layers": 2}, "state h0 float32 .*2, 4.*, expected state h0 float32", id="layers"),
        pytest.param({"input_size": 7}, "input x float32 .*7.*, expected input x float32 .*3", id="input"),
    ],
)
def test_a_model_of_other_sizes_cannot_take_over(changes: dict[str, Any], got: str) -> None:
    with pytest.raises(ContractError, match=f"swap: got .*{got}"):
        BatchedModel(session_of(**changes)[0]).follow(BatchedModel(session_of()[0]))


@pytest.mark.parametrize("changes", [{"form": "step"}, {"batch_first": True}, {"lengths": True}], ids=str)
def test_the_same_cell_in_another_form_can_take_over(changes: dict[str, Any]) -> None:
    first, second = BatchedModel(session_of()[0]), BatchedModel(session_of(weights=5, **changes)[0])
    second.follow(first)
    _, state = first.run([np.ones((1, ROWS, 3), np.float32)], first.session.initial_state(ROWS))
    frames = np.ones((1, ROWS, 3), np.float32)
    (y,), following = second.run([frames if second.timed[0] else frames[0]], state)
    fresh = second.session.initial_state(1)
    pairs = zip(state.items(), fresh.values(), strict=True)
    lone = Lone(second.session, State({name: own[..., :1, :].reshape(row.shape) for (name, own), row in pairs}))
    assert np.array_equal(lone.push(frames[0, 0]), y[0, 0])
    assert [value.shape for value in following.values()] == [value.shape for value in state.values()]


def test_the_fake_cell_tells_the_order_of_frames_and_the_weights() -> None:
    def last(weights: int, *values: float) -> list[float]:
        lone = Lone(session_of(weights)[0])
        for value in values:
            y = lone.push(np.array([value, 0, 0], np.float32))
        return y.tolist()  # type: ignore[no-any-return]

    assert last(3, 1, 2) == [5, 9, 13, 17]
    assert len({tuple(last(3, 1, 2)), tuple(last(3, 2, 1)), tuple(last(5, 1, 2)), tuple(last(3, 1, 2, 0))}) == 4
