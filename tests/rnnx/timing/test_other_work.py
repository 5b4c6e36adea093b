import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnnx.timing.other_work import cores_from_text, machine_busy_s, text_from_cores, watch_other_work


@pytest.mark.parametrize(
    ("busy_s", "own_s", "cores"),
    [(14.0, 4.0, 0.0), (16.0, 4.0, 0.5), (18.0, 4.0, 1.0), (13.9, 4.0, 0.0)],
    ids=["alone", "half", "one", "below-0"],
)
def test_other_work_is_what_the_machine_did_less_ones_own(busy_s: float, own_s: float, cores: float) -> None:
    busy, own, now = iter([10.0, busy_s]), iter([0.0, own_s]), iter([100.0, 104.0])
    other_cores = watch_other_work(busy_s=lambda: next(busy), own_s=lambda: next(own), now_s=lambda: next(now))
    assert other_cores() == pytest.approx(cores)


def test_it_is_unknown_where_the_system_does_not_tell() -> None:
    assert watch_other_work(busy_s=lambda: None)() is None


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
    other_cores = watch_other_work()
    program = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", program], check=True)
    time.sleep(0.02)
    cores = other_cores()
    assert cores is not None
    assert cores > 0.3


@pytest.mark.parametrize("cores", [0.0, 0.02, 1.5])
def test_a_conditions_text_is_read_back(cores: float) -> None:
    assert cores_from_text(text_from_cores(cores)) == cores


@pytest.mark.parametrize("text", ["", "not readable", "many cores", "-1 cores", "nan cores"])
def test_what_is_no_number_of_cores_counts_for_nothing(text: str) -> None:
    assert cores_from_text(text) == 0.0
