"""What figures were measured on: the machine, and the version of everything that took part."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """A machine and its software, as short texts by name.

    `machine`: processor, cores, memory, operating system, CPU governor, and each GPU with driver, clocks and power
    where there is one. `versions`: Python, rnnx and every package that took part. A value that cannot be read on this
    host says so instead of being left out.
    """

    machine: Mapping[str, str]
    versions: Mapping[str, str]
