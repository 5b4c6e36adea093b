"""Ending a command that Ctrl-C has stopped, while a native library may still be at work in a thread."""

import os
import signal

import click


def die_of_interrupt(text: str) -> None:
    """End the process as Ctrl-C ends one by default: at once, where Python would first wait for the thread."""
    click.echo(f"rnnx: {text}", err=True)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
