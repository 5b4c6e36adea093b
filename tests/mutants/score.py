"""The score of the mutation proof, printed once at the end of a test run that held any of it."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

PROPERTY = "mutant"
"""The name under which a test records its `Scored`, which also crosses from the workers of pytest-xdist."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One mutant: the cause it was made with, whether its row failed, and the cause that was named."""

    name: str
    cause: str
    caught: bool
    named: str | None
    right: bool

    def as_property(self) -> tuple[str, dict[str, Any]]:
        """What `record_property` takes."""
        return PROPERTY, asdict(self)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write the score and the list of mutants, where the run had any."""
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    scored = [Scored(**value) for report in reports for name, value in report.user_properties if name == PROPERTY]
    if scored:
        terminalreporter.section("mutation proof")
        for line in lines_of(scored):
            terminalreporter.write_line(line)


def lines_of(scored: Iterable[Scored]) -> Iterator[str]:
    """The list of mutants by name, then the two counts."""
    ordered = sorted(scored, key=lambda one: (one.cause, one.name))
    width = max(len(one.name) for one in ordered)
    for one in ordered:
        verdict = f"named {one.named}" if one.caught else "NOT CAUGHT"
        yield f"{one.name:{width}}  {one.cause:20}  {verdict}{'' if one.right else '  WRONG'}"
    caught, right = sum(one.caught for one in ordered), sum(one.right for one in ordered)
    yield f"caught {caught} of {len(ordered)}, named {right} of {len(ordered)}"
