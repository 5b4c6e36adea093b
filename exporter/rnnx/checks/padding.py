"""What stands in the padding does not matter: a row past its length is never read, as in a packed sequence.

PyTorch's `pack_padded_sequence` drops the padding before anything is computed, so that not even a NaN in it can reach a
result; a backend that computes it and multiplies it away by a mask of zeros would let the NaN through.
"""

from collections.abc import Iterator, Sequence

from rnnx.checks.differences import CheckCase, Difference, allowed_apart, conclude, differences, skipped
from rnnx.checks.probe import OF_THE_MODULE, Probe, is_module
from rnnx.parity.results import CheckResult
from rnnx.truths.cases import Case
from rnnx.truths.rows import FILLS, padded
from rnnx_runtime.array_type import Array


def check_padding(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """Results with each fill in the padding against those with random values in it."""
    if not probe.contract.lengths:
        return skipped(probe, "padding", "the model takes no lengths, so that there is no padding")
    batching = probe.contract.batching
    if batching.padding != "ignored":
        what = "reads its padding, in PyTorch too" if batching.padding == "read" else "may read its padding"
        return skipped(probe, "padding", f"the model {what}: {batching.reason}")
    if is_module(probe):
        return skipped(probe, "padding", OF_THE_MODULE)
    done = f"padding of {', '.join(FILLS)} for random values"
    return conclude(probe, "padding", done, (_refilled(probe, start) for start in cases))


def _refilled(probe: Probe, start: CheckCase) -> Iterator[Difference]:
    expected = _live(probe, start.case)
    limits = allowed_apart(probe, start, expected)
    for name, fill in FILLS.items():
        feeds = padded(probe.contract, start.case.feeds, fill)
        case = Case(name=f"{start.case.name} with padding of {name}", feeds=feeds)
        yield from differences(case.name, _live(probe, case), expected, limits)


def _live(probe: Probe, case: Case) -> dict[str, Array]:
    """The outputs of a case; a layer's as they are: past a row's end they are zero. A model's are cut there."""
    return probe.run(case, live_of=None if probe.contract.bare else case.feeds[probe.contract.lengths[0]])
