"""Errors of the library, which names options as Python does, with the flags of the command line in their place."""

import click

from rnnx.errors import OptionError


def with_flags(error: OptionError, command: click.Command) -> OptionError:
    """The error about a command's flag, where its subject begins with the option's name, as `module for x.pt` does."""
    name, separator, rest = error.subject.partition(" ")
    flag = _flags_of(command).get(name)
    if flag is None:
        return error
    return OptionError(f"{flag}{separator}{rest}", got=error.got, expected=error.expected, remedy=error.remedy)


def _flags_of(command: click.Command) -> dict[str | None, str]:
    options = [own for own in command.params if isinstance(own, click.Option)]
    return {
        own.name: "/".join(max(names, key=len) for names in (own.opts, own.secondary_opts) if names) for own in options
    }
