"""What the tests of the doctor share."""

import pytest

from rnnx.linting import loading


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime is not asked: a process for each of thousands of files takes minutes."""
    monkeypatch.setattr(loading, "_refused_by_onnxruntime", lambda path: "")
