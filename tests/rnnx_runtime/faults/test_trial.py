import pickle
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.rnnx_runtime.faults import specimens, trial
from tests.rnnx_runtime.faults.specimens import Specimen
from tests.rnnx_runtime.faults.trial import attempt

from rnnx_runtime import Contract, FileDamagedError

Reader = Callable[[Specimen, Path], object]


@pytest.fixture(autouse=True)
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def refuse(subject: str) -> Reader:
    def reader(specimen: Specimen, folder: Path) -> object:
        raise FileDamagedError(subject, got="this", expected="that", remedy="do so")

    return reader


def fail(specimen: Specimen, folder: Path) -> object:
    raise ValueError("a byte")


def hang(specimen: Specimen, folder: Path) -> object:
    time.sleep(60)
    return None


def swell(specimen: Specimen, folder: Path) -> object:
    return len(bytes(2**22))


@pytest.mark.parametrize(
    ("reader", "refused", "failure"),
    [
        pytest.param(lambda specimen, folder: 2**22, "", "", id="unchanged"),
        pytest.param(refuse("a/model.onnx"), "FileDamagedError", "", id="refused"),
        pytest.param(refuse("a file"), "FileDamagedError", "does not name the file", id="refused-without-its-name"),
        pytest.param(lambda specimen, folder: 3, "", "another result", id="another-result"),
        pytest.param(fail, "", "ValueError: a byte", id="another-error"),
        pytest.param(hang, "", "no answer within 0.05 s", id="hang"),
        pytest.param(swell, "", "bytes of memory", id="memory"),
    ],
)
def test_only_a_refusal_by_name_or_the_same_result_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contract: Contract, reader: Reader, refused: str, failure: str
) -> None:
    monkeypatch.setitem(specimens.READERS, "session", reader)
    monkeypatch.setattr(trial, "SECONDS", 0.05)
    files = {"model.onnx": b"sound"}
    specimen = Specimen(kind="model", reader="session", files=files, target="model.onnx", contract=contract)
    sound = pickle.dumps(2**22)
    outcome = attempt(specimen, "flipped", b"damaged", tmp_path, sound)
    assert (tmp_path / "model.onnx").read_bytes() == b"damaged"
    assert outcome.refused == refused
    assert failure in outcome.failure
    assert bool(failure) == bool(outcome.failure)
