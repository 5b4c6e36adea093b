"""What the tests of decoders share: a step's graph without a trace."""

import pytest
from tests.rnnx.decoders.small_decoders import hand_written_step

from rnnx.decoders.step_graph import StepGraph


@pytest.fixture
def step() -> StepGraph:
    """A step written by hand."""
    return hand_written_step()
