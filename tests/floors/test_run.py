import json
import re
from pathlib import Path

import pytest
from tests.floors import run
from tests.floors.core_flow import PACKAGES

RESULTS = run.ROOT / "benchmarks" / "results"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def numbers(version: str) -> list[int]:
    """1.26 and 1.26.0 are one version."""
    found = [int(number) for number in re.findall(r"\d+", version)]
    while found and not found[-1]:
        found.pop()
    return found


def pinned() -> dict[str, str]:
    lines = (run.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines) if version}


def read(name: str) -> dict[str, dict[str, str]]:
    result: dict[str, dict[str, str]] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return result


def test_the_highest_of_several_floors_is_the_one_that_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extras = "\n".join(f"{extra} = []" for extra in run.EXTRAS if extra not in ("export", "cpu"))
    wanted = 'export = ["onnx>=1.9", "torch>=2"]\ncpu = ["onnx>=1.19"]'
    text = f'[project]\ndependencies = ["torch>=1.13"]\n[project.optional-dependencies]\n{wanted}\n{extras}\n'
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    assert run.floors() == {"torch": "2", "onnx": "1.19"}


def test_no_floor_is_above_the_pinned_version() -> None:
    pins = pinned()
    assert [name for name, floor in run.floors().items() if numbers(floor) > numbers(pins[normal(name)])] == []


def test_the_result_says_which_version_of_every_floor_ran() -> None:
    assert {normal(name) for name in run.floors()} <= {normal(name) for name in PACKAGES}


def test_the_floors_that_are_declared_are_those_that_ran() -> None:
    ran = {normal(name): numbers(version) for name, version in read("floors.json")["versions"].items()}
    assert {name: ran[normal(name)] for name in run.floors()} == {
        name: numbers(version) for name, version in run.floors().items()
    }


@pytest.mark.parametrize("name", ["floors.json", "core_flow_3.12.json", "core_flow_3.13.json"])
def test_every_step_of_the_results_passed(name: str) -> None:
    steps = json.loads((RESULTS / name).read_text(encoding="utf-8"))["steps"]
    assert len(steps) > 10
    assert [step["step"] for step in steps if step["failure"]] == []


def test_a_python_that_is_not_there_is_said_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["run", "--python", "3.99"])
    assert run.main() == run.NO_PYTHON
    assert capsys.readouterr().out == "NOT RUN: there is no Python 3.99 here\n"
