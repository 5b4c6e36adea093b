"""How busy the rest of the machine was during a measurement, by the kernel's own count.

A load average is of the last minute and counts the measurement too. Here it is processor time: all that the machine
spent, time stolen by a hypervisor's other guests included, less what this process used.
https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat
"""

import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CONDITION = "other work"
"""The name of a row's condition that says it."""

_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat that are neither idle nor waiting: user, nice, system, irq, softirq, steal."""

_TEXT = re.compile(r"(\d+\.\d+) cores, (\d+\.\d+) of them wanted here")


@dataclass(frozen=True, kw_only=True)
class OtherWork:
    """`cores` that other processes kept busy on average, and how many of those the measured process wanted itself."""

    cores: float
    wanted: float

    @property
    def text(self) -> str:
        """What `work_from_text` reads."""
        return f"{self.cores:.2f} cores, {self.wanted:.2f} of them wanted here"


NO_WORK = OtherWork(cores=0.0, wanted=0.0)


def work_from_text(text: str) -> OtherWork:
    """Other work from a condition's text; none where it was not readable."""
    found = _TEXT.fullmatch(text)
    return OtherWork(cores=float(found[1]), wanted=float(found[2])) if found else NO_WORK


def watch_other_work(
    *,
    busy_s: Callable[[], float | None] | None = None,
    own_s: Callable[[], float] = time.process_time,
    now_s: Callable[[], float] = time.perf_counter,
    cores: int | None = None,
) -> Callable[[], str]:
    """A call that says as a text what other work there was since this one."""
    busy_s, cores = busy_s or machine_busy_s, cores or os.cpu_count() or 1
    start = busy_s(), own_s(), now_s()

    def other_work() -> str:
        busy, own, now = busy_s(), own_s(), now_s()
        if busy is None or start[0] is None or now <= start[2]:
            return "not readable"
        own_cores = (own - start[1]) / (now - start[2])
        others = max(0.0, (busy - start[0]) / (now - start[2]) - own_cores)
        # A thread that was kept waiting has used less than its core: so many cores would this process have used.
        would_use = max(1, math.ceil(own_cores - 0.05))
        return OtherWork(cores=others, wanted=max(0.0, others + would_use - cores)).text

    return other_work


def machine_busy_s(root: Path = Path("/")) -> float | None:
    """Processor time of all cores since the machine started, in s; None where there is no /proc/stat."""
    try:
        first = (root / "proc/stat").read_text().split("\n")[0].split()[1:]
    except OSError:
        return None
    return sum(int(first[column]) for column in _BUSY) / os.sysconf("SC_CLK_TCK")
