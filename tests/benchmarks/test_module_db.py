"""Every configuration that PyTorch's own tests have of its recurrent layers; benchmarks/module_db.py compares them.

It runs in a process of its own, for PyTorch's list comes with settings of its test suite.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODES = ("eval", "train")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "module_db.py", "--json"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _entries(result: dict[str, Any], mode: str) -> list[dict[str, str]]:
    return [entry for entry in result["entries"] if entry["mode"] == mode]


def test_every_configuration_exports_as_a_layer_and_equals_pytorch(result: dict[str, Any]) -> None:
    kinds = {entry["module"] for entry in result["entries"]}
    assert kinds == {"nn.RNN", "nn.GRU", "nn.LSTM", "nn.RNNCell", "nn.GRUCell", "nn.LSTMCell"}
    assert [entry for entry in result["entries"] if entry["layer"] != "equal"] == []


def test_every_configuration_exports_with_its_own_inputs_and_equals_pytorch(result: dict[str, Any]) -> None:
    assert [entry for entry in _entries(result, "eval") if entry["as_called"] != "equal"] == []


def test_a_whole_model_in_training_mode_is_listed_with_its_reason(result: dict[str, Any]) -> None:
    reasons = {entry["as_called"] for entry in _entries(result, "train")}
    assert all("got training mode, expected evaluation mode" in reason for reason in reasons)


def test_each_configuration_is_there_in_both_modes(result: dict[str, Any]) -> None:
    eval_entries, train_entries = (
        [(one["module"], one["options"], one["inputs"]) for one in _entries(result, mode)] for mode in MODES
    )
    assert len(eval_entries) > 80
    assert eval_entries == train_entries


def test_the_published_table_is_what_comes_out(result: dict[str, Any]) -> None:
    published = json.loads((BENCHMARKS / "results" / "module_db.json").read_text())
    if published["torch"] != result["torch"]:
        pytest.skip(
            f"the table is of torch {published['torch']}, this is {result['torch']}: its list may be another one"
        )
    assert published["table"] == result["table"]
