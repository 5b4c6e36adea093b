import subprocess
import sys

import pytest


@pytest.mark.parametrize(("arguments", "code", "said"), [(["--version"], 0, "rnnx"), (["no-such"], 2, "no-such")])
def test_the_package_runs_as_the_command(arguments: list[str], code: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "rnnx", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
