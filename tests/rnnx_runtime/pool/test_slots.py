import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts import changed
from tests.rnnx_runtime.pool.fakes import CONTRACT, Array

from rnnx_runtime import State
from rnnx_runtime.contract import CellKind, TensorSpec
from rnnx_runtime.pool.slots import Slots

CAPACITY = 5


class Device:
    """A part of a state in the memory of a device: it counts how often it is copied."""

    owner = object()

    def __init__(self, values: Array) -> None:
        self._values = values
        self.copies = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    def numpy(self) -> Array:
        self.copies += 1
        return self._values.copy()


def slots_of(cell: CellKind = "lstm", layers: int = 2, hidden: int = 4, projection: int = 3) -> Slots:
    contract = changed(CONTRACT, cell=cell, layers=layers, hidden_size=hidden, projection_size=projection)
    return Slots(contract.state_specs, CAPACITY)


def state(value: float, rows: int, *, layers: int = 2, cell: str = "lstm") -> State:
    """A state of so many rows, its row r filled with value + r."""
    ramp = np.arange(rows, dtype=np.float32)[None, :, None] + np.float32(value)
    h = np.broadcast_to(ramp, (layers, rows, 3)).copy()
    return State(h, np.broadcast_to(-ramp, (layers, rows, 4)).copy() if cell == "lstm" else None)


def value_of(slots: Slots, slot: int) -> float:
    """The number that a slot is filled with."""
    h, *rest = slots.read(slot)
    assert len(np.unique(h)) == 1
    for c in rest:
        assert np.all(c == -h.flat[0])
    return float(h.flat[0])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_what_a_step_gave_is_what_the_next_takes(cell: CellKind) -> None:
    slots = slots_of(cell)
    slots.scatter([3, 1], state(7, 2, cell=cell))
    found = slots.gather([1, 3])
    assert found.h[0, :, 0].tolist() == [8, 7]
    assert (found.c is None) is (cell == "gru")
    assert [value_of(slots, slot) for slot in range(CAPACITY)] == [0, 8, 0, 7, 0]


def test_the_same_rows_again_take_the_very_state_that_was_left() -> None:
    slots = slots_of()
    left = state(7, 2)
    slots.scatter([3, 1], left)
    assert slots.gather([3, 1]) is left


def test_states_stay_on_their_device_until_another_group_runs() -> None:
    slots = slots_of(cell="gru")
    values = Device(state(7, 2, cell="gru").h)
    slots.scatter([3, 1], State(values))
    slots.gather([3, 1])
    assert values.copies == 0
    assert slots.gather([1]).h[0, 0, 0] == 8
    assert values.copies == 1


def test_states_of_any_dtype_and_rank_have_a_row_each() -> None:
    specs = [
        TensorSpec(name="count", dtype="int64", dims=("B",)),
        TensorSpec(name="cache", dtype="float32", dims=(2, 3, "B", 4)),
    ]
    slots = Slots(specs, CAPACITY)
    rows = np.array([5, 6]), np.arange(48, dtype=np.float32).reshape(2, 3, 2, 4)
    slots.scatter([3, 1], State({"count": rows[0], "cache": rows[1]}))
    found = slots.gather([1])
    assert found["count"].tolist() == [6]
    np.testing.assert_array_equal(found["cache"], rows[1][:, :, 1:])
    np.testing.assert_array_equal(slots.read(3)[1], rows[1][:, :, 0])


def test_some_rows_of_a_step_leave_the_others_as_they_were() -> None:
    slots = slots_of()
    slots.scatter([0, 1, 2], state(1, 3))
    slots.scatter_some([0, 1, 2], state(10, 3), [0, 2])
    assert [value_of(slots, slot) for slot in range(3)] == [10, 2, 12]
    slots.scatter_some([0, 1, 2], state(20, 3), [])
    assert [value_of(slots, slot) for slot in range(3)] == [10, 2, 12]


def test_a_read_is_a_copy_and_a_write_is_not_an_alias() -> None:
    slots = slots_of()
    h, c = np.ones((2, 3), np.float32), -np.ones((2, 4), np.float32)
    slots.write(2, h, c)
    h[:] = 9
    read, _ = slots.read(2)
    read[:] = 9
    assert value_of(slots, 2) == 1


def test_a_freed_slot_is_zeros_for_the_next_stream() -> None:
    slots = slots_of()
    slot = slots.free.popleft()
    slots.scatter([slot], state(7, 1))
    slots.release(slot)
    assert slots.free[-1] == slot
    assert value_of(slots, slot) == 0
    assert len(slots.free) == CAPACITY


GROUPS = st.permutations(range(CAPACITY)).flatmap(
    lambda order: st.integers(1, CAPACITY).map(lambda size: list(order[:size]))
)
ACTIONS = st.lists(st.tuples(st.sampled_from(["step", "some", "write", "clear", "read"]), GROUPS), max_size=30)


@settings(deadline=None, database=None, derandomize=True, max_examples=150)
@given(ACTIONS)
def test_slots_hold_what_was_last_put_into_each_whatever_was_away(actions: list[tuple[str, list[int]]]) -> None:
    slots, expected = slots_of(), [0.0] * CAPACITY
    for turn, (action, group) in enumerate(actions):
        value = 10.0 * turn + 1
        if action in ("step", "some"):
            assert slots.gather(group).h[1, :, 2].tolist() == [expected[slot] for slot in group]
            rows = range(len(group)) if action == "step" else range(0, len(group), 2)
            if action == "step":
                slots.scatter(group, state(value, len(group)))
            else:
                slots.scatter_some(group, state(value, len(group)), rows)
            for row in rows:
                expected[group[row]] = value + row
        elif action == "read":
            assert value_of(slots, group[0]) == expected[group[0]]
        else:
            expected[group[0]] = value if action == "write" else 0.0
            parts = np.full((2, 3), value, np.float32), np.full((2, 4), -value, np.float32)
            slots.write(group[0], *parts) if action == "write" else slots.clear(group[0])
    assert [value_of(slots, slot) for slot in range(CAPACITY)] == expected


def test_groups_that_take_turns_stay_where_they_are() -> None:
    slots = slots_of("gru")
    values = [Device(np.full((2, 2, 3), group, np.float32)) for group in (1, 2)]
    groups = ([0, 1], [3, 2])
    for group, value in zip(groups, values, strict=True):
        slots.gather(group)
        slots.scatter(group, State(value))
    for group, value in zip(groups, values, strict=True):
        assert slots.gather(group).parts[0] is value
    assert [value.copies for value in values] == [0, 0]
    assert value_of(slots, 0) == 1  # the first group alone comes home
    assert [value.copies for value in values] == [1, 0]
    assert slots.gather([2, 1]).h[0, :, 0].tolist() == [2, 1]
