"""Every forged file is a report or one error that names it, in bounded time and memory; never a traceback."""

import json
import os
import random
import time
import tracemalloc
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from onnx import ModelProto
from tests.rnnx.linting.forged_models import CHANGES, constructions, forged_models, sound_model
from tests.rnnx_runtime.faults.corruption import faults
from tests.rnnx_runtime.faults.forging import forged
from torch import nn

import rnnx
from rnnx.cli.doctor import _print
from rnnx.inspection import inspect
from rnnx.linting.examination import doctor, examine
from rnnx.linting.message_limits import MOST_NODES
from rnnx.linting.onnx_parsing import parse_onnx
from rnnx_runtime import ContractError, FileDamagedError, RnnxError
from rnnx_runtime.files.model_file import read_onnx
from rnnx_runtime.files.seal import is_sealed, sealed

SEED = 20271
SECONDS = 30.0
"""Three times what a file may take, for a busy machine."""

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "torch_onnx").glob("*.onnx"))


def refused(error: RnnxError, subject: str) -> str:
    assert str(error).isprintable()
    assert len(str(error)) < 8_000
    assert subject in str(error)
    return type(error).__name__


def told(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The class of the refusal, empty for a report, which is printed and made JSON too."""
    try:
        report = doctor(path)
    except RnnxError as error:
        return refused(error, path.name)
    _print(report, bool(report))
    out = capsys.readouterr().out
    assert all(character.isprintable() for line in out.split("\n") for character in line)
    assert json.dumps(asdict(report)).encode()
    return ""


def examined(seed: int, count: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> Counter[str]:
    path, sound = folder / "model.onnx", [sound_model(), *(ModelProto.FromString(p.read_bytes()) for p in FIXTURES)]
    os.mkfifo(folder / "fifo")
    counts: Counter[str] = Counter()
    for name, data in forged_models(seed, count, sound):
        path.write_bytes(data)
        start = time.perf_counter()
        try:
            counts[told(path, capsys)] += 1
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error
        assert time.perf_counter() - start < SECONDS, name
    return counts


def test_the_sound_model_has_no_fault_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(sound_model().SerializeToString())
    assert told(tmp_path / "model.onnx", capsys) == ""


def test_forged_files_are_loaded_in_a_process_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sum(examined(SEED + 2, 30, tmp_path, capsys).values()) == 30


@pytest.mark.usefixtures("no_process")
def test_a_forged_file_is_examined_or_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = examined(SEED, 400, tmp_path, capsys)
    assert counts["FileDamagedError"] > 100
    assert counts[""] > 100


@pytest.mark.slow
@pytest.mark.usefixtures("no_process")
def test_thousands_of_forged_files_are_examined_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sum(examined(SEED + 1, 4_000, tmp_path, capsys).values()) == 4_000


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for name, data in constructions():
        path.write_bytes(data)
        tracemalloc.start()
        try:
            doctor(path)
        except RnnxError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 4 * len(data) + 2**22, name


def test_what_a_good_seal_vouches_for_is_inspected_or_refused_by_name(tmp_path: Path) -> None:
    """As `rnnx inspect` and `rnnx build-engine` read it: graphs changed by the grammar, and bytes by faults."""
    path = rnnx.export(nn.LSTM(5, 8), tmp_path / "model.onnx").path
    whole, chance = path.read_bytes(), random.Random(SEED)
    damaged = [sealed(data) for _, data in faults(whole, [whole], SEED, 60) if is_sealed(data)]

    def change(model: ModelProto) -> None:
        for _ in range(chance.randint(1, 3)):
            chance.choice(list(CHANGES.values()))(model, chance)

    counts: Counter[str] = Counter()
    for data in (*(forged(whole, change) for _ in range(200)), *damaged):
        path.write_bytes(data)
        try:
            inspect(path)
            examine(parse_onnx(path, data), tmp_path)
            counts["read"] += 1
        except RnnxError as error:
            counts[refused(error, "")] += 1
    assert counts["read"] > 20
    assert counts["FileDamagedError"] > 20


@pytest.mark.parametrize("depth", [6, 40, 200])
def test_functions_that_double_each_other_are_not_written_out(tmp_path: Path, depth: int) -> None:
    model = sound_model()
    for place in range(depth):
        own = model.functions.add()
        own.CopyFrom(model.functions[0])
        own.name = f"f{place}"
        del own.node[:]
        inner = f"f{place - 1}" if place else "twice"
        own.node.add(op_type=inner, domain="local", input=["v"], output=["u"])
        own.node.add(op_type=inner, domain="local", input=["u"], output=["w"])
    model.graph.node.add(op_type=f"f{depth - 1}", domain="local", input=["Y"], output=["bomb"])
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    if 2**depth > MOST_NODES:
        with pytest.raises(FileDamagedError, match="functions that write out to"):
            doctor(tmp_path / "model.onnx")
    else:
        assert doctor(tmp_path / "model.onnx").recurrences["LSTM"] == 1


def test_a_rule_that_stumbles_over_a_sound_graph_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(model: object) -> None:
        raise IndexError("mine")

    monkeypatch.setattr("rnnx.linting.rules.leftovers.find", find)
    with pytest.raises(IndexError, match="mine"):
        examine(sound_model())


def test_a_rule_that_stumbles_over_what_onnx_refuses_is_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(model: object) -> None:
        raise IndexError("mine")

    monkeypatch.setattr("rnnx.linting.rules.leftovers.find", find)
    model = sound_model()
    model.graph.node[0].input[0] = "nobody makes it"
    with pytest.raises(FileDamagedError, match=r"the graph: got .*nobody makes it"):
        examine(model)


def test_read_onnx_says_what_is_wrong_with_a_sealed_file_that_is_no_protobuf(tmp_path: Path) -> None:
    path = rnnx.export(nn.GRU(5, 8), tmp_path / "model.onnx").path
    path.write_bytes(sealed(path.read_bytes() + b"\x3a\x02\x0a\x7f"))
    with pytest.raises(ContractError, match="no ONNX graph"):
        read_onnx(path)
