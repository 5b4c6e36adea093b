"""What figures were measured on: the machine, and the version of everything that took part."""

import functools
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version

from rnnx.timing.machine import CHANGEABLE, machine_facts

MODULES = {
    "pytorch-cpu": ("torch",),
    "pytorch-cuda": ("torch",),
    "ort-cpu": ("onnxruntime",),
    "ort-cuda": ("onnxruntime", "cuda"),
    "tensorrt": ("tensorrt", "cuda"),
    "tensorrt-rtx": ("tensorrt_rtx", "cuda"),
    "tensorrt-network": ("tensorrt", "tensorrt_rtx"),
}
"""What each row of a report imports to run; its engine's own module first."""

_ALWAYS = ("rnnx", "numpy")


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """A machine and its software, as short texts by name.

    `machine`: processor, cores, memory, operating system, CPU governor, and each GPU with driver, clocks and power
    where there is one. `versions`: Python, rnnx and every package that took part. A value that cannot be read on this
    host says so instead of being left out.
    """

    machine: Mapping[str, str]
    versions: Mapping[str, str]


def take_fingerprint(rows: Iterable[str] = ()) -> Fingerprint:
    """This host as it is now, with the versions of Python, rnnx, NumPy and of all that `rows` need and is installed.

    Versions stand under the names of the packages on PyPI: onnxruntime and onnxruntime-gpu are one module.
    """
    installed = _installed()
    modules = dict.fromkeys(module for row in rows for module in MODULES[row])
    packages = dict.fromkeys((*_ALWAYS, *(name for module in modules for name in installed.get(module, ()))))
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    return Fingerprint(machine=machine_facts(), versions=versions)


@functools.cache  # it reads the list of files of every package that is installed
def _installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """What differs between two fingerprints, as `processor: was X, is Y`; a load or a clock of the moment does not."""
    pairs = ((before.machine, now.machine), (before.versions, now.versions))
    return [
        f"{name}: was {old.get(name, 'not stated')}, is {new.get(name, 'not stated')}"
        for old, new in pairs
        for name in dict.fromkeys((*old, *new))
        if not name.endswith(CHANGEABLE) and old.get(name) != new.get(name)
    ]
