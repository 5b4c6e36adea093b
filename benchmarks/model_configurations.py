"""Many random layers in a model, exported and held against PyTorch: `python benchmarks/model_configurations.py`.

The configurations are those of `tests/rnnx/tracing/configurations.py`, in rounds: eight of every kind of layer,
use of states and packing. A failure is shrunk to its smallest case and written down, and the rest goes on.
"""

import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from rounds import write_result

from rnnx.cli.render import print_table

ROOT = Path(__file__).parents[1]
ROUND = 8
PHASES = (Phase.generate, Phase.shrink)


class _OutOfTimeError(BaseException):
    """Ends a round between two cases; no failure, which hypothesis would shrink."""


class _Campaign:
    """The cases of all rounds: how many ran of which kind, how many calls were compared, and what failed."""

    def __init__(self, end: float) -> None:
        self.end = end
        self.cases: Counter[str] = Counter()
        self.different: set[str] = set()
        self.calls = 0
        self.failures: list[dict[str, str]] = []

    def run_round(self, number: int) -> None:
        """Draw `ROUND` configurations of each kind, state and packing, each from a seed of its own."""
        from tests.rnnx.tracing.configurations import KINDS, STATE_USES, configurations

        uses = list(itertools.product(KINDS, STATE_USES, (False, True)))
        for place, (kind, state, packed) in enumerate(uses):
            self._run(number * len(uses) + place, configurations(kind, state, packed=packed))

    def _run(self, number: int, strategy: SearchStrategy[Any]) -> None:
        from tests.rnnx.tracing.configurations import check_configuration

        found: dict[str, str] = {}

        @seed(number)
        @settings(deadline=None, database=None, max_examples=ROUND, phases=PHASES, suppress_health_check=[*HealthCheck])
        @given(own=strategy)
        def holds(own: Any) -> None:
            if time.monotonic() > self.end and not found:
                raise _OutOfTimeError
            if not found:
                self._count(own)
            try:
                with tempfile.TemporaryDirectory() as folder:
                    check_configuration(own, Path(folder))
            except Exception as error:
                found.update(configuration=repr(own), error=f"{type(error).__name__}: {error}"[:500])
                raise

        try:
            holds()
        except Exception:
            self.failures.append({"seed": str(number), **found})

    def _count(self, own: Any) -> None:
        self.different.add(repr(own))
        self.calls += len(own.others)
        for name in _traits(own):
            self.cases[name] += 1


@click.command()
@click.option("--minutes", default=10.0, help="of all rounds; a failure that is being shrunk is shrunk to its end")
def main(minutes: float) -> None:
    """Run rounds until the time is up, write down and print."""
    sys.path.insert(0, str(ROOT))  # the generator is the tests' own
    campaign, number = _Campaign(time.monotonic() + 60 * minutes), 0
    try:
        while True:
            campaign.run_round(number)
            number += 1
    except _OutOfTimeError:
        pass
    data = {
        "minutes": minutes,
        "cases": campaign.cases["all"],
        "different": len(campaign.different),
        "calls_compared": campaign.calls,
        "failed": len(campaign.failures),
        "failures": campaign.failures,
        "with": dict(sorted(campaign.cases.items())),
    }
    write_result("model_configurations", f"python benchmarks/model_configurations.py --minutes {minutes:g}", data)
    print_table("Random layers in a model", ("", ">cases"), sorted(campaign.cases.items()))
    print(f"{campaign.calls} calls compared, {len(campaign.failures)} failures")
    sys.exit(bool(campaign.failures))


def _traits(own: Any) -> Iterator[str]:
    """What a case has, for the count of each."""
    yield from ("all", own.kind, f"state {own.state}", f"layers {own.layers}")
    flags = {
        "bidirectional": own.bidirectional,
        "batch_first": own.batch_first,
        "no bias": not own.bias,
        "proj_size": own.projection > 0,
        "relu": own.nonlinearity == "relu",
        "unbatched": not own.batched,
        "packed": own.packing is not None,
    }
    yield from (name for name, holds in flags.items() if holds)
    if own.packing:
        yield f"total_length {own.packing.total_length}"
        yield f"padding_value {own.packing.padding_value:g}"
        yield "sorted" if own.packing.enforce_sorted else "unsorted"


if __name__ == "__main__":
    main()
