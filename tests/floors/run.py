"""The core flow with the lowest versions that pyproject.toml allows, or with the pinned ones, in a fresh environment.

    python -m tests.floors.run                                     the floors, on this Python
    python -m tests.floors.run --python 3.13 --versions pinned     constraints.txt, on another Python

Prints the versions and the steps; exit code 1 when a step fails, 3 when there is no such Python. Needs a package index;
of a CUDA build of torch it installs torch alone.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

from tests.floors.loadable_torch import leave_cuda_out

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("export", "cpu", "tensorrt-rtx", "report", "models", "service")
NO_PYTHON = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="a version such as 3.12, or an interpreter")
    parser.add_argument("--versions", choices=("floors", "pinned"), default="floors")
    parser.add_argument("--json", type=Path, help="where the result is written")
    chosen = parser.parse_args()
    interpreter = _interpreter(chosen.python)
    if interpreter is None:
        print(f"NOT RUN: there is no Python {chosen.python} here")
        return NO_PYTHON
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        python = _environment(Path(folder), interpreter, chosen.versions)
        installed = time.monotonic()
        result = {"asked": chosen.versions, "install_seconds": round(installed - start)} | _core_flow(
            Path(folder), python
        )
    _print(result)
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 1 if any(step["failure"] for step in result["steps"]) else 0


def floors() -> dict[str, str]:
    """The lowest version of each package that the extras allow; the highest of several floors is the one that holds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lowest: dict[str, str] = {}
    for wanted in (*project["dependencies"], *(own for extra in EXTRAS for own in extras[extra])):
        name, _, version = wanted.partition(">=")
        lowest[name] = max(version, lowest.get(name, ""), key=_numbers)
    return lowest


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _interpreter(wanted: str) -> str | None:
    """The path of an interpreter that runs: by its path, as pythonX.Y, or one of pyenv's."""
    name = f"python{wanted}" if re.fullmatch(r"\d+\.\d+", wanted) else wanted
    pyenv = shutil.which("pyenv")
    found = [shutil.which(name)]
    if pyenv and name != wanted:
        folder = subprocess.run([pyenv, "prefix", wanted], capture_output=True, text=True, check=False).stdout.strip()
        found.append(f"{folder}/bin/python")
    return next((path for path in found if path and _runs(path)), None)


def _runs(path: str) -> bool:
    try:
        return subprocess.run([path, "-c", "import venv"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _environment(folder: Path, interpreter: str, versions: str) -> Path:
    """Install the package from this tree with its extras; the environment's interpreter."""
    python, constraints = folder / "environment" / "bin" / "python", ROOT / "constraints.txt"
    if versions == "floors":
        constraints = folder / "floors.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in floors().items()))
    _run(interpreter, "-m", "venv", python.parents[1])
    install = (python, "-m", "pip", "install", "--quiet", "--constraint", constraints)
    _run(*install, "--no-deps", "torch")
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    leave_cuda_out(packages)
    _run(*install, f"{ROOT}[{','.join(EXTRAS)}]")
    return python


def _core_flow(folder: Path, python: Path) -> dict[str, Any]:
    work = folder / "work"
    work.mkdir()
    path = os.pathsep.join(str(ROOT / room) for room in ("models", "examples"))
    done = subprocess.run(
        [python, Path(__file__).with_name("core_flow.py"), ROOT],
        cwd=work,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def _print(result: dict[str, Any]) -> None:
    versions = " ".join(f"{name} {version}" for name, version in result["versions"].items())
    print(f"Python {result['python']}, {result['asked']}, installed in {result['install_seconds']} s: {versions}")
    for step in result["steps"]:
        print(f"{step['step']:40} {step['seconds']:6.1f} s  {step['failure'] or 'ok'}")


if __name__ == "__main__":
    sys.exit(main())
