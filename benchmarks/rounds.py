"""Timing two calls side by side: alternating rounds, garbage collection off, a ratio for each round."""

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROUND_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Medians over rounds of the time of one call in µs, and of `base / other` within a round."""

    base_us: float
    other_us: float
    ratio: float


def compare(base: Callable[[], object], other: Callable[[], object], rounds: int = 15) -> Comparison:
    """Time both calls in every round, in turns, each round long enough for the clock."""
    for call in (base, other, base, other):
        call()
    repeats = max(1, int(ROUND_SECONDS / max(_seconds(base, 3), 1e-7)))
    gc.collect()
    gc.disable()
    try:
        pairs = [(_seconds(base, repeats), _seconds(other, repeats)) for _ in range(rounds)]
    finally:
        gc.enable()
    return Comparison(
        base_us=1e6 * statistics.median(first for first, _ in pairs),
        other_us=1e6 * statistics.median(second for _, second in pairs),
        ratio=statistics.median(first / second for first, second in pairs),
    )


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    onnxruntime = packages_distributions().get("onnxruntime", ["onnxruntime"])[0]  # or its GPU build
    packages = ("torch", "onnx", onnxruntime, "numpy", "rnnx")
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} ({platform.machine()})"


def write_result(name: str, command: str, data: dict[str, Any]) -> Path:
    """Write one benchmark's figures with the machine and the command that made them."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"command": command, "machine": machine(), **data}, indent=2) + "\n")
    return path
