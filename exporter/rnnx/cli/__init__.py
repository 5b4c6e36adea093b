"""The `rnnx` command: one file a command, imported only when it is called."""

import sys
from importlib import import_module

import click

from rnnx_runtime.errors import RnnxError

_COMMANDS = {
    "inspect": "rnnx.cli.inspect",
    "doctor": "rnnx.cli.doctor",
    "export": "rnnx.cli.export",
    "build-engine": "rnnx.cli.build_engine",
    "verify": "rnnx.cli.verify",
    "bench": "rnnx.cli.bench",
}


class _LazyGroup(click.Group):
    """A group that imports a command's module when the command is named, and for the help page."""

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

    Exit code 0: done. 1: a check failed; its table says which. 2: the call was wrong; the message says how.
    130: interrupted.
    """


def main() -> None:
    """The command's entry point: user errors become one line on stderr and exit code 2, an interrupt 130."""
    try:
        code = group.main(standalone_mode=False)
    except RnnxError as error:
        click.echo(f"rnnx: {error}", err=True)
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("rnnx: interrupted", err=True)
        code = 130
    sys.exit(code or 0)
