"""Options that the library names as Python does, told by the command's flags."""

import click
import pytest

from rnnx.cli import group
from rnnx.cli.flag_names import with_flags
from rnnx.errors import OptionError


@pytest.mark.parametrize(
    ("command", "subject", "told"),
    [
        ("build-engine", "targets", "--target-sm"),
        ("build-engine", "tf32", "--no-tf32"),
        ("export", "module for best.pt", "--module for best.pt"),
        ("export", "constants start", "--constant start"),
        ("export", "output", "--output"),
        ("export", "stateful", "--stateful/--no-stateful"),
        ("verify", "case_timeout_s", "--case-timeout-s"),
        ("verify", "names for x", "--map for x"),
        ("bench", "sizes", "--at"),
        ("bench", "model", "--model"),
        ("bench", "the file", "the file"),
        ("export", "example inputs", "example inputs"),
    ],
)
def test_an_option_is_told_by_its_flag(command: str, subject: str, told: str) -> None:
    own = group.get_command(click.Context(group), command)
    assert own is not None
    error = with_flags(OptionError(subject, got="3", expected="4", remedy="give it"), own)
    assert str(error) == f"{told}: got 3, expected 4; give it"
