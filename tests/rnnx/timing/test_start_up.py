import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import rnnx
from rnnx.runners.sources import Sources, read_subject
from rnnx.timing import start_up_process
from rnnx.timing.start_up import PROCESSES, measure_start_up, start_up_request


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model with its checkpoint `weights.safetensors` beside it."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(3)
    save_file(nn.LSTM(5, 8).state_dict(), folder / "weights.safetensors")
    rnnx.export(folder / "weights.safetensors", folder / "model.onnx", rnnx.ExportOptions(lengths=True))
    return folder / "model.onnx"


def _request(model: Path, row: str) -> dict[str, Any]:
    sources = Sources(checkpoint=model.with_name("weights.safetensors"))
    return start_up_request(read_subject(model, sources), sources, row, {"T": 5, "B": 2}, 1)


def _python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_fresh_process_tells_what_it_paid(model: Path, listening: Any) -> None:
    (row,) = measure_start_up([_request(model, "ort-cpu")], listener=listening)
    assert (row.backend, row.problem) == ("ort-cpu", "")
    assert min(row.import_s, row.load_s, row.first_call_ms) > 0
    assert 20 < row.peak_mib < 2000
    assert listening.told == [f"start-up {PROCESSES}", *["."] * PROCESSES, "end"]


def test_a_session_pays_for_the_runtime_alone(model: Path) -> None:
    """What a service embeds: no torch, no onnx, and nothing of the toolkit."""
    program = (
        f"import sys, json; sys.path.insert(0, {str(Path(start_up_process.__file__).parent)!r})\n"
        f"import start_up_process as process\nprocess.measured({_request(model, 'ort-cpu')!r})\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "rnnx_runtime" in loaded
    assert not loaded & {"rnnx", "torch", "onnx", "click", "rich"}


def test_pytorch_is_started_too(model: Path) -> None:
    answer = start_up_process.measured(_request(model, "pytorch-cpu"))
    assert set(answer) == {"import_s", "load_s", "first_call_ms", "peak_mib"}


def test_a_row_that_cannot_run_here_says_why(model: Path) -> None:
    answer = start_up_process.measured(_request(model, "pytorch-cuda"))
    if "problem" not in answer:
        pytest.skip("this machine has a GPU")
    assert answer["problem"].startswith("backend pytorch-cuda: got torch ")


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import os; os.abort()", "the process died of SIGABRT"),
        ("import sys; sys.exit('no luck\\nat all')", "the process ended with exit code 1: at all"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
        ('print(\'{"problem": "no GPU"}\')', "no GPU"),
        ("print('garbled')", "no figures in its answer"),
    ],
    ids=["crash", "exit", "hang", "refusal", "garbled"],
)
def test_a_process_that_ends_badly_is_a_row_with_the_problem(program: str, problem: str, listening: Any) -> None:
    (row,) = measure_start_up([{"row": "ort-cpu"}], listener=listening, command=_python(program), timeout_s=1.0)
    assert row.problem == problem
    assert (row.import_s, row.peak_mib) == (0.0, 0.0)


def test_one_bad_process_leaves_the_others_alone_and_is_not_tried_again(listening: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        f"import json, os, sys; row = json.load(sys.stdin)['row']; open({str(log)!r}, 'a').write(row + ' ')\n"
        "if row == 'bad': os.abort()\n"
        "print(json.dumps({'import_s': 1, 'load_s': 2, 'first_call_ms': 3, 'peak_mib': 4}))"
    )
    bad, good = measure_start_up([{"row": "bad"}, {"row": "good"}], listener=listening, command=_python(program))
    assert bad.problem == "the process died of SIGABRT"
    assert (good.import_s, good.load_s, good.first_call_ms, good.peak_mib) == (1, 2, 3, 4)
    assert log.read_text().split() == ["bad", *["good"] * PROCESSES]


def test_figures_are_the_medians_of_the_processes(listening: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        f"import json; open({str(log)!r}, 'a').write('.'); n = [9, 1, 4][len(open({str(log)!r}).read()) - 1]\n"
        "print(json.dumps({'import_s': n, 'load_s': n, 'first_call_ms': n, 'peak_mib': n}))"
    )
    (row,) = measure_start_up([{"row": "ort-cpu"}], listener=listening, command=_python(program))
    assert (row.import_s, row.peak_mib) == (4, 4)


def test_the_peak_is_the_childs_own_and_not_its_parents() -> None:
    ballast = bytearray(b"x") * (300 * 2**20)  # written to, or it would not be resident
    program = f"import runpy; print(runpy.run_path({start_up_process.__file__!r})['peak_mib']())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 150 < len(ballast) / 2**20
