import numpy as np
import pytest

from rnnx.diagnosis.searching import least_at, narrowed


@pytest.mark.parametrize("place", [0.5, -1.0, 3.0, -0.02, 900.0])
def test_the_least_is_found_on_either_side_of_zero(place: float) -> None:
    assert least_at(lambda at: (at - place) ** 2, np.geomspace(1e-3, 1e3, 40)) == pytest.approx(place, rel=1e-6)


def test_an_error_that_is_infinite_in_places_is_no_hindrance() -> None:
    assert narrowed(lambda at: (at - 2) ** 2 if at < 3 else float("inf"), 1, 4) == pytest.approx(2, rel=1e-6)
