import gc
import subprocess
import sys
import textwrap

import pytest

from rnnx_runtime.threads import at_exit

LATE_S = 60.0


class Thing:
    """Something that ends."""

    def __init__(self, order: list[str], name: str, endings: at_exit._Endings) -> None:
        self.order, self.name = order, name
        self.given_s: float | None = None
        endings.add(self)

    def end(self, timeout_s: float) -> None:
        self.order.append(self.name)
        self.given_s = timeout_s


@pytest.fixture
def endings() -> at_exit._Endings:
    made = at_exit._Endings()
    made._is_registered = True  # this test calls it itself
    return made


def test_the_youngest_ends_first_and_all_within_one_limit(endings: at_exit._Endings) -> None:
    order: list[str] = []
    things = [Thing(order, name, endings) for name in ("session", "pool")]
    endings._end_all()
    assert order == ["pool", "session"]
    assert all(thing.given_s is not None and 0 < thing.given_s <= at_exit.LONGEST_S for thing in things)


def test_what_is_gone_is_forgotten(endings: at_exit._Endings) -> None:
    order: list[str] = []
    kept = Thing(order, "kept", endings)
    Thing(order, "gone", endings)
    gc.collect()
    assert len(endings._alive) == 1
    endings._end_all()
    assert order == [kept.name]


@pytest.mark.parametrize(("end", "code"), [("pass", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)])
def test_it_happens_at_the_end_of_the_interpreter_whatever_ends_it(end: str, code: int) -> None:
    script = f"""
        from rnnx_runtime.threads.at_exit import end_at_exit

        class Thing:
            def end(self, timeout_s):
                print("ended", timeout_s > 0)

        thing = Thing()
        end_at_exit(thing)
        {end}
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=LATE_S
    )
    assert (done.returncode, done.stdout) == (code, "ended True\n")
