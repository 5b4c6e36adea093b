"""How results look: tables on stdout, whole lines when stdout is no terminal."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from rnnx_runtime.printable import shown, shown_lines

_MOST_WIDTH = 220
"""Columns a table may take before its cells fold, on a terminal or not."""

PAGE_WIDTH = 100
"""Columns that reports are written for: a log file's, and half a wide screen."""

_LONGEST_LINE = 10_000
"""Characters of a line or a paragraph: a list of every case fits, a name of a megabyte does not."""


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> None:
    """Print one table; a column is right-aligned when its name starts with `>`.

    Where a name starts with `~`, that column's cells wrap between words so that the table fits `PAGE_WIDTH`; no other
    column's ever do.
    """
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    wraps = any(column.startswith("~") for column in columns)
    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns), padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            column.lstrip(">~"),
            justify="right" if column.startswith(">") else "left",
            overflow="fold",
            no_wrap=wraps and not column.startswith("~"),
        )
    for row in rows:
        table.add_row(*(Text(shown(str(cell)), style=cell.style if isinstance(cell, Text) else "") for cell in row))
    # A table wider than the terminal is left to the terminal to wrap: nobody can read a folded name or figure.
    widest = Console(width=_MOST_WIDTH)
    needed = Measurement.get(widest, widest.options, table)
    terminal = Console()
    least = max(needed.minimum, min(needed.maximum, PAGE_WIDTH)) if wraps else needed.maximum
    console = Console(width=max(least, terminal.width if terminal.is_terminal else 0))
    # Title and caption are not the table's own, which wraps them at its width and takes a [ in a path for markup.
    if title:
        console.print(Text(shown(title), style="table.title"), soft_wrap=True)
    console.print(table)
    if caption:
        console.print(Text(shown(caption), style="table.caption"), soft_wrap=True)


def print_line(text: str = "") -> None:
    """Print one line, which the terminal may wrap where it likes."""
    click.echo(shown(text, _LONGEST_LINE))


def print_paragraph(text: str, *, indent: str = "", label: str = "", color: str | None = None) -> None:
    """Print lines of at most `PAGE_WIDTH` columns, wrapped between words alone: a path or a figure stays whole.

    A `label` stands before the first line, in `color` on a terminal, and the others are then set in by two columns.
    """
    label = shown(label)
    head, hanging = (f"{label} ", "  ") if label else ("", "")
    lines = [
        line
        for i, part in enumerate(shown_lines(text, _LONGEST_LINE).removesuffix("\n").split("\n"))
        for line in textwrap.wrap(
            part if i else head + part,
            PAGE_WIDTH,
            initial_indent=indent + (hanging if i else ""),
            subsequent_indent=indent + hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
    paragraph = "\n".join(lines)
    if label and color:
        paragraph = paragraph.replace(label, click.style(label, fg=color, bold=True), 1)
    click.echo(paragraph)


def print_json(data: Any) -> None:
    """Print plain data as JSON on stdout."""
    click.echo(json.dumps(data, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def byte_size(size: int) -> str:
    """A size in bytes as KiB or MiB."""
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
