"""How results look: tables on stdout, whole lines when stdout is no terminal."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

_MOST_WIDTH = 220
"""Columns a table may take before its cells fold, on a terminal or not."""


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> None:
    """Print one table; a column is right-aligned when its name starts with `>`."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns))
    for column in columns:
        table.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    # A table wider than the terminal is left to the terminal to wrap: nobody can read a folded name or figure.
    widest = Console(width=_MOST_WIDTH)
    needed = Measurement.get(widest, widest.options, table).maximum
    terminal = Console()
    console = Console(width=max(needed, terminal.width if terminal.is_terminal else 0))
    # Title and caption are not the table's own, which wraps them at its width and takes a [ in a path for markup.
    if title:
        console.print(Text(title, style="table.title"), soft_wrap=True)
    console.print(table)
    if caption:
        console.print(Text(caption, style="table.caption"), soft_wrap=True)


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
