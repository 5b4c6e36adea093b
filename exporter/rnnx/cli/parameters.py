"""Options whose value is written `NAME=VALUE`, turned into what the library takes."""

import os
from pathlib import Path
from typing import Any, Literal

import click


def sizes_from_text(_ctx: click.Context, _param: click.Parameter, value: str | None) -> dict[str, int]:
    """`B=1,T=50` as `{"B": 1, "T": 50}`."""
    pairs = [part.partition("=") for part in value.split(",")] if value else []
    if not all(size.strip().isdecimal() for _, _, size in pairs):
        raise click.BadParameter(f"got {value!r}, expected sizes such as B=1,T=50")
    return {dim.strip(): int(size) for dim, _, size in pairs}


def tensor_names_from_texts(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`("x=input", "hn=output_2")` as `{"x": "input", "hn": "output_2"}`; a tensor's name may hold an `=`."""
    names: dict[str, str] = {}
    for value in values:
        ours, separator, theirs = value.partition("=")
        if not (ours and separator and theirs):
            raise click.BadParameter(f"got {value!r}, expected NAME=TENSOR such as x=input")
        if ours in names:
            raise click.BadParameter(f"got {ours!r} twice, expected each name once")
        names[ours] = theirs
    return names


class ReportFile(click.Path):
    """A report's file as a path, or `-` for stdout; a file of that name is `./-`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | Literal["-"]:
        return (
            "-" if value == "-" else Path(os.fsdecode(super().convert(value, param, ctx)))
        )  # here, for Path("./-") is Path("-")


class ArtifactFile(click.Path):
    """A file with others beside it, which stdout cannot hold."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if value == "-":
            self.fail("got -, which stands for stdout, expected a file: others lie beside it", param, ctx)
        return Path(os.fsdecode(super().convert(value, param, ctx)))
