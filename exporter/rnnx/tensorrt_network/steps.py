"""Steps over a list of values: one function call each, bound once to the places that it reads and writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rnnx.tensorrt_network.arithmetic import Evaluator
from rnnx_runtime.errors import BackendError

Values = list[Any]
"""A network's tensors while it runs, each at its own place; the first place always holds None."""

NOTHING = 0
"""The place that stands for an input that was left out."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: the subject of its errors, the places it reads and writes, the call that does so."""

    subject: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    run: Callable[[Values], None]


def step_from_evaluator(subject: str, evaluator: Evaluator, reads: tuple[int, ...], writes: tuple[int, ...]) -> Step:
    """The step that puts an evaluator's result, or its tuple of results, where it belongs."""
    return Step(subject=subject, reads=reads, writes=writes, run=_bound(evaluator, reads, writes))


def run_steps(steps: Sequence[Step], values: Values) -> None:
    """Run the steps in order.

    Raises:
        BackendError: the values do not fit a layer, which is named.
    """
    step = None
    try:
        for step in steps:
            step.run(values)
    except (ValueError, IndexError, TypeError, ArithmeticError, MemoryError) as error:
        raise BackendError(
            step.subject if step else "the parsed network",
            got=f"{type(error).__name__}: {error}",
            expected="inputs of sizes that the parsed network takes",
            remedy="look in the graph for a time or a batch that was written as a number",
        ) from error


def leading_steps(steps: Sequence[Step], place: int) -> tuple[Step, ...]:
    """Those of the steps, in order, that the value at a place depends on."""
    needed, kept = {place}, []
    for step in reversed(steps):
        if needed & {*step.writes}:
            needed |= {*step.reads}
            kept.append(step)
    return tuple(reversed(kept))


def _bound(evaluator: Evaluator, reads: tuple[int, ...], writes: tuple[int, ...]) -> Callable[[Values], None]:
    """A call per arity, for unpacking a list costs as much as the arithmetic of a small layer."""
    if len(writes) != 1 or len(reads) not in (1, 2, 3):
        return _bound_generally(evaluator, reads, writes)
    target, (first, second, third) = writes[0], (*reads, NOTHING, NOTHING)[:3]

    def call_with_one(values: Values) -> None:
        values[target] = evaluator(values[first])

    def call_with_two(values: Values) -> None:
        values[target] = evaluator(values[first], values[second])

    def call_with_three(values: Values) -> None:
        values[target] = evaluator(values[first], values[second], values[third])

    return (call_with_one, call_with_two, call_with_three)[len(reads) - 1]


def _bound_generally(evaluator: Evaluator, reads: tuple[int, ...], writes: tuple[int, ...]) -> Callable[[Values], None]:
    def call(values: Values) -> None:
        result = evaluator(*(values[place] for place in reads))
        results = (result,) if len(writes) == 1 else result
        for place, value in zip(writes, results or (), strict=True):
            values[place] = value

    return call
