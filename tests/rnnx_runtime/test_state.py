"""States whose parts are arrays, or tensors on a device that counts how often it is asked."""

import pickle

import numpy as np
import pytest
from numpy.typing import NDArray

from rnnx_runtime import State
from rnnx_runtime.state import DeviceTensor


class Tensor:
    """A `DeviceTensor` of ones."""

    def __init__(self) -> None:
        self.shape = (1, 2, 3)
        self.owner = self
        self.copies = 0

    def numpy(self) -> NDArray[np.float32]:
        self.copies += 1
        return np.ones(self.shape, np.float32)


def test_a_state_of_a_gru_has_no_c() -> None:
    state = State(np.zeros((1, 2, 3), np.float32))
    assert state.c is None
    assert len(state.parts) == 1
    assert not state.is_on_device


@pytest.mark.parametrize("name", ["h", "c", "other"])
def test_a_state_does_not_change(name: str) -> None:
    state = State(np.zeros((1, 2, 3), np.float32))
    with pytest.raises(AttributeError):
        setattr(state, name, np.ones((1, 2, 3), np.float32))


def test_states_compare_and_hash_by_identity() -> None:
    h = np.zeros((1, 2, 3), np.float32)
    state = State(h)
    assert state == state
    assert state != State(h)
    assert {state: "kept"}[state] == "kept"


def test_arrays_are_given_as_they_are() -> None:
    h, c = np.zeros((1, 2, 3), np.float32), np.ones((1, 2, 3), np.float32)
    assert State(h, c).h is h
    assert State(h, c).c is c
    assert State(h, c).parts == (h, c)
    assert not State(h, c).is_on_device


def test_a_state_on_a_device_is_copied_when_it_is_asked_for_and_not_before() -> None:
    h, c = Tensor(), Tensor()
    assert isinstance(h, DeviceTensor)
    state = State(h, c)
    assert state.is_on_device
    assert state.parts == (h, c)
    assert repr(state) == "<State: h0 (1, 2, 3), c0 (1, 2, 3), on a device>"
    assert (h.copies, c.copies) == (0, 0)
    np.testing.assert_array_equal(state.h, np.ones((1, 2, 3), np.float32))
    assert (h.copies, c.copies) == (1, 0)


def test_one_part_on_a_device_is_enough_to_be_there() -> None:
    assert State(np.zeros((1, 2, 3), np.float32), Tensor()).is_on_device


def test_a_pickled_state_has_left_the_device() -> None:
    state = pickle.loads(pickle.dumps(State(Tensor(), Tensor())))
    assert not state.is_on_device
    np.testing.assert_array_equal(state.c, np.ones((1, 2, 3), np.float32))
