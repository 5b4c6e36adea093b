"""The GPUs of a host with their driver, clocks and power, as nvidia-smi says them."""

import subprocess
from collections.abc import Callable

# nvidia-smi --help-query-gpu lists these.
_FIELDS = {
    "name": "name",
    "driver": "driver_version",
    "memory": "memory.total",
    "greatest SM clock": "clocks.max.sm",
    "power limit": "power.limit",
    "SM clock": "clocks.sm",
    "power": "power.draw",
    "temperature": "temperature.gpu",
    "performance state": "pstate",
}

_LASTING = ("name", "driver", "memory", "greatest SM clock", "power limit")

_TIMEOUT_S = 20.0


def gpu_facts(query: Callable[[], str] | None = None) -> dict[str, str]:
    """Two facts of each GPU: what it is, and its state now; one that says why where there is none."""
    try:
        answer = (query or _query)()
    except FileNotFoundError:
        return {"GPU": "none: nvidia-smi is not installed"}
    except (OSError, subprocess.SubprocessError) as error:
        return {"GPU": f"unknown: nvidia-smi failed ({error})"}
    facts: dict[str, str] = {}
    for index, line in enumerate(line for line in answer.splitlines() if line.strip()):
        values = dict(zip(_FIELDS, (value.strip() for value in line.split(",")), strict=False))
        facts[f"GPU {index}"] = _listing({name: values.get(name, "not stated") for name in _LASTING})
        facts[f"GPU {index} state now"] = _listing({n: v for n, v in values.items() if n not in _LASTING})
    return facts or {"GPU": "none: nvidia-smi lists no device"}


def _query() -> str:
    command = ["nvidia-smi", f"--query-gpu={','.join(_FIELDS.values())}", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stdout


def _listing(values: dict[str, str]) -> str:
    return ", ".join(value if name == "name" else f"{name} {value}" for name, value in values.items())
