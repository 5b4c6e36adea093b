import traceback
from dataclasses import replace
from typing import Any

import pytest
import sympy  # type: ignore[import-untyped]
import torch
from tests.whole_model import CONTRACT

from rnnx.errors import FrozenDimError
from rnnx.tracing.sizes.guarded_sizes import GuardedSizes
from rnnx.tracing.sizes.guards import SizeGuard
from rnnx_runtime.contract import SizeRange

T, B = sympy.symbols("s1 s2", integer=True, positive=True)
LINE = traceback.FrameSummary("/models/own.py", 3, "forward", line="if x.size(1) > 4:")
OPERATOR = traceback.FrameSummary(f"{torch.__path__[0]}/_meta.py", 7, "meta_pad", line="torch._check(...)")


def _guarded(*conditions: Any, operator: bool = False, time: int = 6) -> GuardedSizes:
    frames = (LINE, OPERATOR) if operator else (LINE,)
    return GuardedSizes(
        guards=tuple(SizeGuard(condition=own, frames=frames) for own in conditions),
        names={T: "T", B: "B"},
        example={"T": time, "B": 2},
        places={"T": "input 'x' axis 1, T", "B": "input 'x' axis 0, B"},
    )


def _at(*times: int) -> list[dict[str, int]]:
    return [{"T": time, "B": 2} for time in times]


@pytest.mark.parametrize(
    ("condition", "failed", "passed", "expected"),
    [
        (T > 4, (1, 3), (6, 9), SizeRange(min=5)),
        (T <= 20, (50,), (1, 6), SizeRange(min=1, max=20)),
        (sympy.Ne(T, 1), (1,), (2, 6), SizeRange(min=2)),
    ],
    ids=["least", "most", "not-one"],
)
def test_a_guard_on_one_side_becomes_a_range(
    condition: Any, failed: tuple[int, ...], passed: tuple[int, ...], expected: SizeRange
) -> None:
    found = _guarded(condition).narrowed(CONTRACT, _at(*failed), _at(*passed))
    assert found is not None
    assert found.ranges == {"T": expected}


@pytest.mark.parametrize(
    ("condition", "failing"),
    [
        (sympy.Eq(sympy.Mod(T, 2), 0), 5),
        (sympy.Ne(sympy.Mod(T, 5), 0), 5),
        (sympy.Ne(sympy.Mod(T - 3, 256), 0), 3),
        (sympy.Eq((T + 3) // 4, 2), 9),
        (T + B > 7, 5),
    ],
    ids=["even", "not-fifth", "rarely", "parts", "two-dims"],
)
def test_a_guard_with_gaps_is_refused_with_the_line_and_a_remedy(condition: Any, failing: int) -> None:
    with pytest.raises(FrozenDimError) as refused:
        _guarded(condition).narrowed(CONTRACT, _at(failing), _at(6))
    assert "own.py, line 3" in refused.value.got
    assert "static" in refused.value.remedy


def test_a_guard_that_fails_where_values_are_right_is_no_cause() -> None:
    guarded = _guarded(T > 4, operator=True)
    assert guarded.narrowed(CONTRACT, _at(3), _at(2, 6)) is None


def test_the_models_own_branch_comes_before_what_operators_ask() -> None:
    own, other = _guarded(T > 4).guards[0], _guarded(T > 5, operator=True).guards[0]
    guarded = GuardedSizes(guards=(other, own), names={T: "T"}, example={"T": 6}, places={})
    found = guarded.narrowed(CONTRACT, _at(3), _at(6))
    assert found is not None
    assert found.ranges == {"T": SizeRange(min=5)}


def test_sizes_are_tried_at_which_a_guard_does_not_hold() -> None:
    guarded = _guarded(sympy.Ne(T, 8), sympy.Eq(sympy.Mod(T, 2), 0))
    further = guarded.further(_at(6, 2), {})
    assert [sizes["T"] for sizes in further] == [8, 1]
    assert guarded.further(_at(6, 8, 3), {}) == []


def test_an_operators_end_is_passed_by_two_after_the_models_own_guards() -> None:
    """`x[:, :8]` asks whether there are fewer than 8, and cuts nothing of 8 itself."""
    assert _guarded(T < 8, operator=True).further(_at(1, 2, 6), {}) == _at(9)
    both = replace(_guarded(T > 4), guards=(*_guarded(T < 8, operator=True).guards, *_guarded(T > 4).guards))
    assert both.further(_at(6), {}) == [*_at(1), *_at(9)]


def test_sizes_are_tried_inside_of_the_ranges() -> None:
    guarded = _guarded(sympy.Eq((T + 1) // 2, 3))
    assert [sizes["T"] for sizes in guarded.further(_at(6), {"T": SizeRange(min=5)})] == [7]
    assert guarded.further(_at(6), {"T": SizeRange(min=5, max=6)}) == []


def test_the_nearest_sizes_in_range_stand_in_for_lost_ones() -> None:
    guarded = _guarded(sympy.Eq((T + 3) // 4, 2))
    assert guarded.nearest(_at(6), _at(4), {}) == _at(3)
    assert guarded.nearest(_at(6), [], {"T": SizeRange(min=1, max=8)}) == _at(4)
    assert guarded.nearest(_at(6, 9), [], {}) == []


def test_a_far_upper_end_needs_no_trial() -> None:
    assert _guarded(T <= 5000).known_ranges == {"T": SizeRange(min=1, max=5000)}
    assert _guarded(T <= 5000, operator=True).known_ranges == {}


def test_sizes_that_pytorch_refuses_make_a_range() -> None:
    assert _guarded(T >= 3, operator=True).ranges_of_refusals(_at(1, 2), _at(3, 6)) == {"T": SizeRange(min=3)}
    assert _guarded(T >= 3, operator=True).ranges_of_refusals(_at(1), _at(2, 6)) == {}


def test_a_range_is_told_with_its_line() -> None:
    (note,) = _guarded(T > 4).notes({"T": SizeRange(min=5)})
    assert "T is at least 5" in note
    assert "own.py, line 3" in note
