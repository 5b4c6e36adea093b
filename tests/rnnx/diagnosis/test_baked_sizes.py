from collections.abc import Mapping

import numpy as np
import pytest
from tests.rnnx.diagnosis.conftest import Array, Compute, Model, model, suspect

from rnnx.diagnosis.baked_sizes import Baked, baked_size
from rnnx_runtime.errors import BackendError

LSTM = model("lstm")


def _refusing(made: Model, axis: int, size: int) -> Compute:
    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        if feeds["x"].shape[axis] != size:
            raise BackendError("run", got=f"shape {feeds['x'].shape}", expected=f"{size}", remedy="export it again")
        return made.compute()(feeds)

    return compute


def _first_steps(size: int) -> Compute:
    compute = LSTM.compute()

    def cut(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return compute({**feeds, "x": feeds["x"][:size]})

    return cut


def _found(made: Model, compute: Compute) -> Baked:
    baked = baked_size(suspect(made, compute))
    assert baked is not None
    return baked


@pytest.mark.parametrize("size", [5, 11, 40], ids=["of-a-case", "of-none", "said-by-the-message"])
def test_the_only_time_that_works_is_found(size: int) -> None:
    baked = _found(LSTM, _refusing(LSTM, 0, size))
    assert (baked.cause, baked.sizes) == ("baked-time", (size,))
    assert f"expected {size}" in baked.said


def test_the_only_batch_that_works_is_found() -> None:
    baked = _found(LSTM, _refusing(LSTM, 1, 3))
    assert (baked.cause, baked.sizes) == ("baked-batch", (3,))


def test_every_time_up_to_a_length_is_told_as_a_range() -> None:
    baked = _found(LSTM, _first_steps(3))
    assert baked.cause == "baked-time"
    assert baked.detail == "it computes the truth at T=1–3 only, not at T=5"


def test_a_backend_that_fails_at_no_size_of_its_own_has_none() -> None:
    compute = LSTM.compute()

    def refuse(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        raise BackendError("run", got="no memory", expected="some", remedy="free some")

    def wrong(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: value + 0.1 for name, value in compute(feeds).items()}

    assert baked_size(suspect(LSTM, refuse)) is None
    assert baked_size(suspect(LSTM, wrong)) is None


def test_a_size_that_works_by_chance_but_computes_wrongly_is_none_that_works() -> None:
    def wrong_at_two(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        if len(feeds["x"]) == 2:
            return LSTM.compute()({**feeds, "x": np.zeros_like(feeds["x"])})
        return _refusing(LSTM, 0, 5)(feeds)

    assert _found(LSTM, wrong_at_two).sizes == (5,)
