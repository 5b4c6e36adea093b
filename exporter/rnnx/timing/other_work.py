"""How busy the rest of the machine was during a measurement, by the kernel's own count.

A load average is of the last minute and counts the measurement too. Here it is processor time: all that the machine
spent, time stolen by a hypervisor's other guests included, less what this process used.
https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

OTHER_WORK = "other work"
"""The condition's name in a row."""

_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat that are neither idle nor waiting: user, nice, system, irq, softirq, steal."""


def watch_other_work(
    *,
    busy_s: Callable[[], float | None] | None = None,
    own_s: Callable[[], float] = time.process_time,
    now_s: Callable[[], float] = time.perf_counter,
) -> Callable[[], float | None]:
    """A call that says how many cores other processes kept busy since this one, on average.

    It says None where the operating system does not tell, and right after the start.
    """
    busy_s = busy_s or machine_busy_s
    start = busy_s(), own_s(), now_s()

    def other_cores() -> float | None:
        busy, own, now = busy_s(), own_s(), now_s()
        if busy is None or start[0] is None or now <= start[2]:
            return None
        return max(0.0, (busy - start[0] - (own - start[1])) / (now - start[2]))

    return other_cores


def machine_busy_s(root: Path = Path("/")) -> float | None:
    """Processor time of all cores since the machine started, in s; None where there is no /proc/stat."""
    try:
        first = (root / "proc/stat").read_text().split("\n")[0].split()[1:]
    except OSError:
        return None
    return sum(int(first[column]) for column in _BUSY) / os.sysconf("SC_CLK_TCK")


def text_from_cores(cores: float | None) -> str:
    """A condition's text, such as `0.02 cores`."""
    return "not readable" if cores is None else f"{cores:.2f} cores"


def cores_from_text(text: str) -> float:
    """What `text_from_cores` wrote; 0 where it could not be read."""
    number, _, unit = text.partition(" ")
    return float(number) if unit == "cores" and number.replace(".", "", 1).isdecimal() else 0.0
