"""The `rnnx` command: one file a command, imported only when it is called.

A command parses, calls the library and shows what comes back; nothing else prints.
"""

import contextlib
import gc
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from rnnx.cli.flag_names import with_flags
from rnnx.cli.standard_streams import PIPE_CLOSED, UnwritableError, discard_rest, prepare_streams
from rnnx.errors import OptionError
from rnnx_runtime.errors import RnnxError

_COMMANDS = {
    "inspect": "rnnx.cli.inspect",
    "doctor": "rnnx.cli.doctor",
    "export": "rnnx.cli.export",
    "adopt": "rnnx.cli.adopt",
    "build-engine": "rnnx.cli.build_engine",
    "verify": "rnnx.cli.verify",
    "seal": "rnnx.cli.seal",
    "bench": "rnnx.cli.bench",
}

_NEW_OBJECTS = 200_000
"""How many make the garbage collector look: importing torch makes so many that looking at each 700 takes 2 s."""


class _LazyGroup(click.Group):
    """A group that imports a command's module when the command is named, and for the help page."""

    def invoke(self, ctx: click.Context) -> Any:
        _check_working_folder()
        try:
            return super().invoke(ctx)
        except OptionError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            raise (with_flags(error, command) if command else error) from error.__cause__

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_COMMANDS[cmd_name]).command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rnnx")
def group() -> None:
    """Take trained PyTorch LSTM and GRU networks to ONNX and TensorRT, and prove that every backend agrees.

    Exit code 0: done. 1: a check failed; its table says which. 2: the call was wrong, or the result could not be
    written; the message says how. 130: interrupted. 141: the reader of stdout left early.
    """


def main() -> None:
    """The command's entry point: user errors become one line on stderr and exit code 2, an interrupt 130."""
    gc.set_threshold(_NEW_OBJECTS)
    prepare_streams()
    code = _exit_code()
    discard_rest()
    sys.exit(code)


def _exit_code() -> int:
    try:
        code = group.main(standalone_mode=False) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except RnnxError as error:
        return _told(f"rnnx: {error}", 2)
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except UnwritableError as error:
        if error.is_closed_pipe:
            return PIPE_CLOSED
        return _told(f"rnnx: stdout: got {error}, expected room for the result; free some, or send it elsewhere", 2)
    except click.Abort:
        return _told("rnnx: interrupted", 130)


def _told(text: str, code: int) -> int:
    with contextlib.suppress(OSError):  # stderr may be full or closed too
        click.echo(text, err=True)
    return code


def _check_working_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise OptionError(
            "working folder", got="one that was deleted", expected="one that exists", remedy="cd to another"
        ) from None
