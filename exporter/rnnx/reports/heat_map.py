"""Every error as a share of its limit, by case and backend: the cells of a heat map."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rnnx.parity.parity import CaseParity, ParityReport, ParityRow

LEVELS = {0.2: "within-1", 0.4: "within-2", 0.6: "within-3", 0.8: "within-4", 1.0: "within-5"}
"""Up to which share of the limit a cell has which shade."""

BEYOND = {10.0: "beyond-1", 1000.0: "beyond-2", math.inf: "beyond-3"}
"""The same for what failed."""


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """One output of one case on one backend: its text, its shade, and its figures in words."""

    text: str
    level: str
    title: str
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A column for each output of each backend (`backends`: how many each has), a row for each case."""

    backends: Mapping[str, int]
    outputs: tuple[str, ...]
    rows: Mapping[str, tuple[HeatCell, ...]]


def heat_map_of(parity: ParityReport) -> HeatMap | None:
    """The cells of every row that has results, or None where none has."""
    rows = [row for row in parity.rows if row.results]
    cases = dict.fromkeys(name for row in rows for name in (*(result.case for result in row.results), *row.uncovered))
    columns = [(row, output.output) for row in rows for output in row.outputs]
    found = {(row.backend, one.case, one.output): one for row in rows for one in row.results}
    if not columns:
        return None
    return HeatMap(
        backends={row.backend: len(row.outputs) for row in rows},
        outputs=tuple(output for _, output in columns),
        rows={case: tuple(_cells(case, columns, found)) for case in cases},
    )


def _cells(
    case: str, columns: list[tuple[ParityRow, str]], found: Mapping[tuple[str, str, str], CaseParity]
) -> Iterator[HeatCell]:
    for row, output in columns:
        result = found.get((row.backend, case, output))
        yield _missing(row, case) if result is None else _cell(row.backend, result)


def _missing(row: ParityRow, case: str) -> HeatCell:
    why = "no profile of the engine covers it" if case in row.uncovered else "not run"
    return HeatCell(text="–", level="missing", title=f"{row.backend}, {case}: {why}")


def _cell(backend: str, result: CaseParity) -> HeatCell:
    where = f"{backend}, {result.output} of {result.case}"
    if result.closeness is None:
        return HeatCell(text="✕ none", level="nothing", title=f"{where}: {result.problem}")
    figures = result.closeness
    title = (
        f"{where}: max {figures.max_error:.2e}, p99 {figures.p99_error:.2e}, mean {figures.mean_error:.2e}, "
        f"limit {result.limit:.2e}, float32 error {result.float32_error:.2e}"
    )
    levels = LEVELS if result else BEYOND
    level = next(name for bound, name in levels.items() if result.share <= bound)
    return HeatCell(text=share_text(result.share), level=level, title=title, share=result.share)


def share_text(share: float) -> str:
    """A share of a limit: in percent within it, as a multiple and crossed beyond it."""
    if share <= 1:
        return f"{math.ceil(share * 100)} %"
    if math.isinf(share):
        return "✕ none"
    digits = f"{share:.1f}" if share < 10 else f"{share:.0f}" if share < 1000 else f"{share:.0e}".replace("e+0", "e")
    return f"✕ {digits.replace('e+', 'e')}×"
