"""A command whose help page groups its options by what they are for."""

from collections.abc import Mapping
from typing import Any

import click


class GroupedCommand(click.Command):
    """A command with `groups`: a title, and the names of the parameters below it; all others come first."""

    def __init__(self, *args: Any, groups: Mapping[str, tuple[str, ...]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one list for each group, in their order."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        shown = {own.name: record for own in options if (record := own.get_help_record(ctx))}
        grouped = {name for names in self.groups.values() for name in names}
        rest = tuple(name for name in shown if name not in grouped)
        for title, names in {"Options": rest, **self.groups}.items():
            with formatter.section(title):
                formatter.write_dl([shown[name] for name in names])
