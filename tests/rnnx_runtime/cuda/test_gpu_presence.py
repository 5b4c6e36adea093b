import ctypes
from typing import Any

import pytest

from rnnx_runtime.cuda.gpu_presence import gpu_is_present


class FakeDriver:
    """The driver's library: what `cuInit` and `cuDeviceGetCount` say."""

    def __init__(self, init: int, count: int, counting: int = 0) -> None:
        self._init, self._count, self._counting = init, count, counting

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's name
        assert flags == 0
        return self._init

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802 - the driver's name
        count._obj.value = self._count
        return self._counting


@pytest.mark.parametrize(
    ("driver", "present"),
    [
        pytest.param(FakeDriver(0, 2), True, id="two"),
        pytest.param(FakeDriver(0, 0), False, id="none"),
        pytest.param(FakeDriver(100, 0), False, id="no-device"),
        pytest.param(FakeDriver(34, 0), False, id="stub"),
        pytest.param(FakeDriver(803, 0), True, id="driver-mismatch"),
        pytest.param(FakeDriver(999, 0), True, id="unknown-error"),
        pytest.param(FakeDriver(0, 0, counting=999), True, id="counting-fails"),
    ],
)
def test_a_gpu_that_cannot_start_is_present_too(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver, present: bool
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert gpu_is_present() is present


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert not gpu_is_present()
