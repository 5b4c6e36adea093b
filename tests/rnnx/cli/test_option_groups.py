import click
import pytest

from rnnx.cli import group
from rnnx.cli.option_groups import GroupedCommand

GROUPED = ("export", "build-engine", "verify", "bench")


def _command(name: str) -> GroupedCommand:
    command = group.get_command(click.Context(group), name)
    assert isinstance(command, GroupedCommand)
    return command


@pytest.mark.parametrize("name", GROUPED)
def test_groups_name_parameters_that_are_there_once_each(name: str) -> None:
    command = _command(name)
    grouped = [param for names in command.groups.values() for param in names]
    assert len(grouped) == len({*grouped})
    assert {*grouped} <= {param.name for param in command.params}


@pytest.mark.parametrize("name", GROUPED)
def test_a_help_page_has_every_group_and_every_option(name: str) -> None:
    command = _command(name)
    text = command.get_help(click.Context(command, info_name=name))
    titles = [line.removesuffix(":") for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == ["Options", *command.groups]
    assert all(param.opts[0] in text for param in command.params if isinstance(param, click.Option))
