import subprocess

import pytest

from rnnx.timing.gpu_state import gpu_facts

LINE = "NVIDIA L4, 555.42, 23034 MiB, 2040 MHz, 72.00 W, 300 MHz, 16.20 W, 38, P8\n"


def test_a_gpu_is_told_apart_from_its_state() -> None:
    assert gpu_facts(lambda: LINE) == {
        "GPU 0": "NVIDIA L4, driver 555.42, memory 23034 MiB, greatest SM clock 2040 MHz, power limit 72.00 W",
        "GPU 0 state now": "SM clock 300 MHz, power 16.20 W, temperature 38, performance state P8",
    }


def test_every_gpu_is_listed() -> None:
    assert set(gpu_facts(lambda: LINE * 2)) == {"GPU 0", "GPU 0 state now", "GPU 1", "GPU 1 state now"}


def test_a_value_the_driver_does_not_tell_is_kept_as_it_says() -> None:
    facts = gpu_facts(lambda: LINE.replace("72.00 W", "[N/A]"))
    assert "power limit [N/A]" in facts["GPU 0"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(), "none: nvidia-smi is not installed"),
        (subprocess.CalledProcessError(9, "nvidia-smi"), "unknown: nvidia-smi failed"),
        (subprocess.TimeoutExpired("nvidia-smi", 20), "unknown: nvidia-smi failed"),
    ],
    ids=["missing", "failed", "hung"],
)
def test_no_answer_says_why(error: Exception, said: str) -> None:
    def failing() -> str:
        raise error

    assert gpu_facts(failing)["GPU"].startswith(said)


def test_no_device_is_said() -> None:
    assert gpu_facts(lambda: "\n") == {"GPU": "none: nvidia-smi lists no device"}
