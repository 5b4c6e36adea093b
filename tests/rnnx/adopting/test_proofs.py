"""What drops a guess: proofs of states and lengths on models in NumPy."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from rnnx.adopting.length_proofs import why_no_lengths
from rnnx.adopting.state_pairs import FoundState
from rnnx.adopting.state_proofs import proved_states
from rnnx.errors import AdoptionError
from rnnx.proofs.running_model import RunningModel
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, Source, StatePair, Streaming, TensorSpec

Run = Callable[[Mapping[str, Array]], dict[str, Array]]


def spec(name: str, *dims: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, dims=dims)


def contract(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], *pairs: tuple[str, str]) -> Contract:
    return Contract(
        inputs=inputs,
        outputs=outputs,
        states=tuple(StatePair(input=one, output=other) for one, other in pairs),
        lengths=(),
        recurrent=(),
        streaming=Streaming(kind="no"),
        precision="float32",
        source=Source(file="", module="", weights_sha256=""),
    )


SUMS = contract(
    (spec("x", "T", "B", 3), spec("a", "B", 3), spec("b", "B", 3)),
    (spec("y", "T", "B", 3), spec("one", "B", 3), spec("two", "B", 3)),
    ("a", "one"),
    ("b", "two"),
)


def two_sums(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The sum of the frames is `two`, which begins with `a`; half of it is `one`, which begins with `b`."""
    sums = np.cumsum(feeds["x"], axis=0) + feeds["a"]
    halves = np.cumsum(feeds["x"] / 2, axis=0) + feeds["b"]
    return {"y": (sums - 3 * halves).astype(np.float32), "one": halves[-1], "two": sums[-1]}


def found(*states: tuple[str, str, str]) -> list[FoundState]:
    return [
        FoundState(pair=StatePair(input=one, output=other), evidence=evidence, why="it")  # type: ignore[arg-type]
        for one, other, evidence in states
    ]


EXAMPLE = {
    "x": np.zeros((12, 2, 3), np.float32),
    "a": np.zeros((2, 3), np.float32),
    "b": np.zeros((2, 3), np.float32),
}


def running(run: Run) -> RunningModel:
    return RunningModel(run=run, name="NumPy", close=1e-4)


def test_states_of_one_shape_are_put_into_the_order_that_chunks_prove() -> None:
    proved = proved_states(running(two_sums), SUMS, EXAMPLE, found(("a", "one", "graph"), ("b", "two", "graph")))
    assert {pair.input: pair.output for pair in proved.contract.states} == {"a": "two", "b": "one"}
    assert proved.contract.streaming.kind == "exact"
    assert proved.notes == (
        "the states are a → two, b → one: in the order of their names chunks give other values than the whole",
    )


def test_a_pair_that_the_caller_named_is_not_put_elsewhere() -> None:
    with pytest.raises(AdoptionError, match="state a=one: got a pair that does not hold"):
        proved_states(running(two_sums), SUMS, EXAMPLE, found(("a", "one", "given"), ("b", "two", "given")))


def test_a_bare_guess_is_dropped_where_chunks_are_right_without_it() -> None:
    def gained(feeds: Mapping[str, Array]) -> dict[str, Array]:
        sums = np.cumsum(feeds["x"], axis=0) + feeds["a"]
        return {"y": (sums * feeds["b"]).astype(np.float32), "one": sums[-1], "two": 2 * feeds["b"]}

    proved = proved_states(running(gained), SUMS, EXAMPLE, found(("a", "one", "graph"), ("b", "two", "names")))
    assert [pair.input for pair in proved.contract.states] == ["a"]
    assert proved.contract.streaming.kind == "exact"
    assert proved.notes[0].startswith("no state: b → two (names: it): with it chunks give other values")


def test_an_output_that_depends_on_nothing_is_no_state() -> None:
    def constant(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {**two_sums(feeds), "one": np.ones((feeds["a"].shape), np.float32)}

    proved = proved_states(running(constant), SUMS, EXAMPLE, found(("a", "one", "names"), ("b", "two", "names")))
    assert "no state: a → one (names: it): one depends on no input" in proved.notes


LENGTHS = contract(
    (spec("x", "T", "B", 3), spec("n", "B", dtype="int64")), (spec("y", "T", "B", 3), spec("last", "B", 3))
)


def packed(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Sums of the frames up to each row's length; the last one is the row's own."""
    live = np.arange(len(feeds["x"]))[:, np.newaxis] < feeds["n"]
    y = np.cumsum(np.where(live[..., np.newaxis], feeds["x"], 0), axis=0)
    return {"y": y, "last": y[-1]}


def last_frame(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The last frame of the padding, whatever the lengths."""
    return {"y": np.cumsum(feeds["x"], axis=0) * feeds["n"].max(), "last": feeds["x"][-1]}


@pytest.mark.parametrize(
    ("run", "why"),
    [
        pytest.param(packed, "", id="lengths"),
        pytest.param(last_frame, "output 'y' of a row of 5 frames differs from that of the row cut there", id="none"),
    ],
)
def test_lengths_are_held_against_rows_that_are_cut_there(run: Run, why: str) -> None:
    example = {"x": np.zeros((12, 2, 3), np.float32), "n": np.array([12, 12])}
    assert why_no_lengths(running(run), LENGTHS, example, "n") == why


def test_without_a_free_time_no_row_can_be_cut() -> None:
    fixed = contract((spec("x", 4, "B", 3), spec("n", "B", dtype="int64")), (spec("y", 4, "B", 3),))
    example = {"x": np.zeros((4, 2, 3), np.float32), "n": np.array([4, 4])}
    assert why_no_lengths(running(packed), fixed, example, "n") == "no axes of time and batch to cut rows on"
