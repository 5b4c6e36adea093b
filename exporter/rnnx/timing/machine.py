"""The facts of a machine that a time depends on, as short texts by name; what cannot be read says so."""

import os
import platform
from collections.abc import Callable
from pathlib import Path

from rnnx.timing.gpu_state import gpu_facts

CHANGEABLE = ("load average", "clock now", "state now")
"""Ends of names whose values are of the moment: the same machine has others a minute later."""

_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "amx_tile": "AMX",
    "asimd": "NEON",
    "sve": "SVE",
}
"""Instruction sets that matrix products are written for, by their names in Linux."""


def machine_facts(root: Path = Path("/"), *, gpus: Callable[[], dict[str, str]] = gpu_facts) -> dict[str, str]:
    """Everything known of this host; `root` holds `proc` and `sys`."""
    cpu = _cpu_info(root)
    return {
        "processor": f"{cpu.get('model name') or platform.processor() or 'not stated'} ({platform.machine()})",
        "cores": _cores(),
        "instruction sets": _instruction_sets(cpu),
        "hypervisor": "yes" if "hypervisor" in cpu.get("flags", "").split() else "none seen",
        "memory": _memory(root),
        "operating system": f"{platform.system()} {platform.release()}",
        "CPU governor": _text(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "turbo": _turbo(root),
        "CPU clock now": f"{cpu['cpu MHz']} MHz" if "cpu MHz" in cpu else "not readable",
        "load average": _text(root, "proc/loadavg"),
        **gpus(),
    }


def _cpu_info(root: Path) -> dict[str, str]:
    """The first processor's lines of `/proc/cpuinfo`."""
    text = _text(root, "proc/cpuinfo").replace("Features\t", "flags\t")  # Arm's name for them
    lines = (line.partition(":") for line in text.split("\n\n")[0].split("\n"))
    return {name.strip(): value.strip() for name, _, value in lines}


def _instruction_sets(cpu: dict[str, str]) -> str:
    if "flags" not in cpu:
        return "not readable"
    flags = cpu["flags"].split()
    return ", ".join(name for flag, name in _FEATURES.items() if flag in flags) or "none of those known"


def _cores() -> str:
    """Cores of the host, and how many of them this process may use where that is fewer."""
    count = os.cpu_count() or 0
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return f"{count}" if usable == count else f"{count}, of which {usable} usable"


def _memory(root: Path) -> str:
    first = _text(root, "proc/meminfo").split("\n")[0].split()  # MemTotal: 8123456 kB
    return f"{int(first[1]) / 2**20:.1f} GiB" if len(first) == 3 else "not readable"


def _turbo(root: Path) -> str:
    states = {"sys/devices/system/cpu/intel_pstate/no_turbo": "0", "sys/devices/system/cpu/cpufreq/boost": "1"}
    for path, on in states.items():
        value = _text(root, path)
        if value != _UNREADABLE:
            return "on" if value == on else "off"
    return _UNREADABLE


_UNREADABLE = "not readable"


def _text(root: Path, path: str) -> str:
    try:
        return (root / path).read_text().strip()
    except OSError:
        return _UNREADABLE
