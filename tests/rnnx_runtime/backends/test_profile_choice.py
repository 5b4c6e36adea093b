"""Which profile serves a call."""

import pytest

from rnnx_runtime import InputError
from rnnx_runtime.backends.profile_choice import choose_profile
from rnnx_runtime.files.sidecar import Profile, Range

SMALL: Profile = {"B": Range(min=1, opt=1, max=2), "T": Range(min=1, opt=2, max=8)}
LARGE: Profile = {"B": Range(min=1, opt=16, max=32), "T": Range(min=1, opt=50, max=100)}


@pytest.mark.parametrize(
    ("time", "batch", "index"),
    [(2, 1, 0), (2, 2, 0), (1, 1, 0), (8, 2, 0), (50, 16, 1), (9, 1, 1), (3, 3, 1), (8, 3, 1), (100, 32, 1)],
)
def test_the_profile_nearest_its_opt_is_chosen(time: int, batch: int, index: int) -> None:
    assert choose_profile((SMALL, LARGE), {"T": time, "B": batch}) == index


def test_of_equals_the_first_is_chosen() -> None:
    assert choose_profile((LARGE, LARGE), {"T": 3, "B": 3}) == 0


def test_nearness_is_a_factor_and_not_a_difference() -> None:
    profiles: list[Profile] = [{"B": Range(min=1, opt=opt, max=100)} for opt in (1, 60)]
    assert choose_profile(profiles, {"B": 20}) == 1


@pytest.mark.parametrize(
    ("time", "batch", "subject", "got"),
    [(5, 33, "dim B", "B=33"), (101, 1, "dim T", "T=101"), (101, 40, "dim T and B", "T=101, B=40")],
)
def test_sizes_outside_every_profile_are_refused(time: int, batch: int, subject: str, got: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_profile((SMALL, LARGE), {"T": time, "B": batch})
    assert (caught.value.subject, caught.value.got) == (subject, got)
    assert caught.value.expected == "B 1..2, T 1..8 or B 1..32, T 1..100"
    assert f"rnnx build-engine --profile T=1:{time}:{time},B=1:{batch}:{batch}" in caught.value.remedy


def test_sizes_that_fit_no_single_profile_name_both_dims() -> None:
    long = {"B": Range(min=1, opt=1, max=1), "T": Range(min=500, opt=500, max=500)}
    with pytest.raises(InputError, match="dim T and B: got T=500, B=2"):
        choose_profile((SMALL, long), {"T": 500, "B": 2})
