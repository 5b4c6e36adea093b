"""The guide to whole models does what it says: its blocks run in order, and it names what the command takes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rnnx.cli.export import command
from rnnx.modules.example_inputs import DTYPES

GUIDE = (Path(__file__).parents[1] / "docs/whole-models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_block_runs_in_order(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    assert {language for language, _ in BLOCKS} == {"sh", "python"}
    for language, text in BLOCKS:
        call = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
        result = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"


OF_MODELS = (
    "--checkpoint",
    "--state-dict",
    "--input",
    "--stateful",
    "--state",
    "--static",
    "--output-names",
    "--constant",
    "--deterministic",
)
OF_DECODERS = ("--form", "--steps", "--feed", "--start-token", "--end-token", "--pad-token", "--allow-large")


@pytest.mark.parametrize("option", [*OF_MODELS, *OF_DECODERS])
def test_every_option_for_models_is_named_and_is_there(option: str) -> None:
    assert re.search(rf"`{option}[` ]", GUIDE)
    assert any(option in parameter.opts for parameter in command.params)


def test_the_dtypes_of_an_input_are_those_that_are_read() -> None:
    row = re.search(r"^\| DTYPE \| (.*?) \|", GUIDE, re.MULTILINE)
    assert row is not None
    assert tuple(re.findall(r"`(\w+)`", row[1])) == DTYPES
