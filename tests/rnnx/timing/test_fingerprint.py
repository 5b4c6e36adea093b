from dataclasses import replace

import pytest

from rnnx.runners import row_names
from rnnx.timing import fingerprint
from rnnx.timing.fingerprint import MODULES, differences, take_fingerprint


def test_versions_are_python_rnnx_numpy_and_what_the_rows_need() -> None:
    versions = take_fingerprint(["pytorch-cpu", "ort-cpu"]).versions
    assert {"python", "rnnx", "numpy", "torch"} <= set(versions)
    assert any(name.startswith("onnxruntime") for name in versions)
    assert all(number[0].isdigit() for number in versions.values())
    assert set(take_fingerprint().versions) == {"python", "rnnx", "numpy"}


def test_a_package_stands_under_its_own_name_whatever_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_installed", lambda: {"onnxruntime": ["onnxruntime-gpu"]})
    monkeypatch.setattr(fingerprint, "version", lambda name: f"version of {name}")
    assert take_fingerprint(["ort-cpu"]).versions["onnxruntime-gpu"] == "version of onnxruntime-gpu"


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_installed", dict)
    assert set(take_fingerprint(["tensorrt"]).versions) == {"python", "rnnx", "numpy"}


def test_every_row_has_its_modules() -> None:
    assert set(MODULES) == set(row_names.ROW_NAMES)


def test_the_machine_is_described() -> None:
    machine = take_fingerprint().machine
    assert {"processor", "cores", "memory", "operating system", "CPU governor", "load average", "turbo"} <= set(machine)
    assert all(machine.values())


def test_two_fingerprints_of_one_host_do_not_differ() -> None:
    before = take_fingerprint()
    machine = {**before.machine, "load average": "9.99", "CPU clock now": "1 MHz", "GPU 0 state now": "SM clock 3 MHz"}
    assert differences(before, replace(before, machine=machine)) == []


def test_differences_name_what_was_and_what_is() -> None:
    before = take_fingerprint()
    now = replace(
        before, machine={**before.machine, "processor": "another"}, versions={**before.versions, "torch": "9"}
    )
    assert differences(before, now) == [
        f"processor: was {before.machine['processor']}, is another",
        "torch: was not stated, is 9",
    ]
