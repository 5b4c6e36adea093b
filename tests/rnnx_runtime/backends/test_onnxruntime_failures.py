"""What is said of a run that ONNX Runtime fails."""

import pytest

from rnnx_runtime.backends.onnxruntime_failures import failures_named
from rnnx_runtime.errors import BackendError


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        pytest.param("Gather node.\n indices element out of data bounds, idx=50", "look for a token", id="index"),
        pytest.param("Failed to allocate memory", "look for lack of memory", id="memory"),
    ],
)
def test_a_failed_run_says_what_to_look_for(message: str, remedy: str) -> None:
    with (
        pytest.raises(BackendError, match=f"ONNX Runtime run: got .*, expected a result; .*{remedy}"),
        failures_named(),
    ):
        raise RuntimeError(message)
