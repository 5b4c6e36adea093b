"""How an adoption looks."""

from typing import TYPE_CHECKING

from rnnx.cli.render import byte_size, print_table

if TYPE_CHECKING:
    from rnnx.adopting.adopt_report import AdoptReport


def print_adoption(report: "AdoptReport") -> None:
    """Print what was found, how far it is proved, and what was written."""
    from rnnx.inspection import contract_rows

    rows = [
        ("adopted from", report.source),
        *contract_rows(report.contract),
        *(("state by", text) for text in report.states),
        *(("proved", text) for text in report.proofs),
        *(("note", text) for text in report.notes),
        *(("check", text) for text in report.checks),
        ("nodes", ", ".join(f"{count} {operator}" for operator, count in report.nodes.items())),
        ("size", byte_size(report.bytes)),
        ("golden file", report.golden),
    ]
    print_table(str(report.path), ("", ""), rows)
