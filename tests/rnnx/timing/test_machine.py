import platform
from pathlib import Path

import pytest

from rnnx.timing.machine import machine_facts

X86 = (
    "processor\t: 0\nmodel name\t: Fast CPU\ncpu MHz\t\t: 2500.0\n"
    "flags\t\t: fpu avx2 avx512f avx512_vnni hypervisor\n\n"
)


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def _facts(root: Path) -> dict[str, str]:
    return machine_facts(root, gpus=lambda: {"GPU": "none: this is a test"})


def test_a_whole_machine_is_described(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": X86 + X86.replace("Fast", "Slow"),
        "proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\n",
        "proc/loadavg": "0.50 0.40 0.30 1/99 4242\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
    }
    facts = _facts(_write(tmp_path, files))
    assert facts["processor"] == f"Fast CPU ({platform.machine()})"
    assert facts["instruction sets"] == "AVX2, AVX-512, AVX-512 VNNI"
    assert facts["hypervisor"] == "yes"
    assert facts["memory"] == "16.0 GiB"
    assert facts["CPU governor"] == "powersave"
    assert facts["turbo"] == "on"
    assert facts["CPU clock now"] == "2500.0 MHz"
    assert facts["load average"] == "0.50 0.40 0.30 1/99 4242"
    assert facts["GPU"] == "none: this is a test"


@pytest.mark.parametrize(
    ("path", "value", "turbo"),
    [
        ("intel_pstate/no_turbo", "1", "off"),
        ("cpufreq/boost", "1", "on"),
        ("cpufreq/boost", "0", "off"),
    ],
    ids=["intel-off", "boost-on", "boost-off"],
)
def test_turbo_is_read_where_each_driver_keeps_it(tmp_path: Path, path: str, value: str, turbo: str) -> None:
    assert _facts(_write(tmp_path, {f"sys/devices/system/cpu/{path}": value}))["turbo"] == turbo


def test_arms_features_are_read_too(tmp_path: Path) -> None:
    facts = _facts(_write(tmp_path, {"proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd sve\n"}))
    assert facts["instruction sets"] == "NEON, SVE"


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    facts = _facts(tmp_path)
    unreadable = {"instruction sets", "memory", "CPU governor", "turbo", "CPU clock now", "load average"}
    assert {name for name, value in facts.items() if value == "not readable"} == unreadable
    assert facts["processor"]
