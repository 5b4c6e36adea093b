import dataclasses

import numpy as np
import pytest

from rnnx_runtime import State


def test_a_state_of_a_gru_has_no_c() -> None:
    assert State(np.zeros((1, 2, 3), np.float32)).c is None


def test_a_state_does_not_change() -> None:
    state = State(np.zeros((1, 2, 3), np.float32))
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.h = np.ones((1, 2, 3), np.float32)  # type: ignore[misc]


def test_states_compare_and_hash_by_identity() -> None:
    h = np.zeros((1, 2, 3), np.float32)
    state = State(h)
    assert state == state
    assert state != State(h)
    assert {state: "kept"}[state] == "kept"
