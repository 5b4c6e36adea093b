import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnnx.timing.other_work import NO_WORK, OtherWork, machine_busy_s, watch_other_work, work_from_text


@pytest.mark.parametrize(
    ("busy_s", "own_s", "text"),
    [
        (14.0, 4.0, "0.00 cores, 0.00 of them wanted here"),
        (16.0, 4.0, "0.50 cores, 0.00 of them wanted here"),
        (18.0, 4.0, "1.00 cores, 0.00 of them wanted here"),
        (18.0, 3.0, "1.25 cores, 0.25 of them wanted here"),
        (18.0, 6.0, "0.50 cores, 0.50 of them wanted here"),
        (13.9, 4.0, "0.00 cores, 0.00 of them wanted here"),
    ],
    ids=["alone", "half", "one", "shared", "two-threads-shared", "below-0"],
)
def test_other_work_is_what_the_machine_did_less_ones_own(busy_s: float, own_s: float, text: str) -> None:
    busy, own, now = iter([10.0, busy_s]), iter([0.0, own_s]), iter([100.0, 104.0])
    other_work = watch_other_work(busy_s=lambda: next(busy), own_s=lambda: next(own), now_s=lambda: next(now), cores=2)
    assert other_work() == text


def test_it_is_unknown_where_the_system_does_not_tell() -> None:
    assert watch_other_work(busy_s=lambda: None)() == "not readable"


def test_idle_and_waiting_time_is_not_busy(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    #                                               user nice system idle iowait irq softirq steal guest guest_nice
    (tmp_path / "proc" / "stat").write_text("cpu  100 200 300 9999 8888 400 500 600 50 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
    busy = machine_busy_s(tmp_path)
    assert busy is not None
    assert busy * 100 == pytest.approx(100 + 200 + 300 + 400 + 500 + 600, rel=0.01)


def test_no_such_file_is_unknown(tmp_path: Path) -> None:
    assert machine_busy_s(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc/stat")
def test_a_busy_process_is_seen() -> None:
    other_work = watch_other_work()
    program = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", program], check=True)
    time.sleep(0.02)
    assert work_from_text(other_work()).cores > 0.3


def test_a_conditions_text_is_read_back() -> None:
    work = OtherWork(cores=1.33, wanted=0.33)
    assert work_from_text(work.text) == work


@pytest.mark.parametrize("text", ["", "not readable", "many cores", "-1.00 cores, 0.00 of them wanted here"])
def test_what_cannot_be_read_counts_for_nothing(text: str) -> None:
    assert work_from_text(text) == NO_WORK
