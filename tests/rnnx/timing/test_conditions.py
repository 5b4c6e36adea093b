from types import SimpleNamespace
from typing import Any

import pytest

from rnnx.timing.conditions import conditions_of
from rnnx.timing.fingerprint import MODULES


def _subject(precision: str) -> Any:
    return SimpleNamespace(precision=lambda row: precision)


def test_a_cpu_row_states_its_threads_and_precision() -> None:
    assert conditions_of(_subject("float32"), "ort-cpu", 2) == {"threads": "2", "precision": "float32"}


@pytest.mark.parametrize(("precision", "tf32"), [("tf32", "on"), ("float32", "off")])
def test_an_engine_states_tf32_and_the_rest(precision: str, tf32: str) -> None:
    assert conditions_of(_subject(precision), "tensorrt", 2) == {
        "precision": precision,
        "TF32": tf32,
        "CUDA graph": "not used",
        "device timer": "CUDA events",
    }


@pytest.mark.parametrize("row", [row for row in MODULES if not row.endswith(("cpu", "network"))])
def test_every_gpu_row_says_how_its_devices_time_is_taken(row: str) -> None:
    assert conditions_of(_subject("float32"), row, 1)["device timer"]
