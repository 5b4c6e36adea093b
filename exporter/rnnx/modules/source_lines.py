"""The line of the model's own source that something came from."""

import functools
import re
import sysconfig
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import rnnx_runtime

_FOREIGN = tuple(
    str(Path(folder).resolve()) + "/"
    for folder in (torch.__path__[0], Path(__file__).parents[1], rnnx_runtime.__path__[0])
)
_FRAME = re.compile(r'File "(.+)", line (\d+), in (.+)\n\s*(.*)')
_STANDARD = sysconfig.get_paths()["stdlib"] + "/"


def model_line(frames: Iterable[traceback.FrameSummary]) -> str:
    """The innermost line that is neither PyTorch's, rnnx's nor Python's own, as `file.py, line 12: code`."""
    found = list(frames)
    place = last_own_frame(found)
    if place < 0:
        return "a line that is not in the model's source"
    return f"{found[place].filename}, line {found[place].lineno}: {found[place].line or '(no source)'}"


def last_own_frame(frames: Sequence[traceback.FrameSummary]) -> int:
    """The place of the innermost frame of the model's own source, -1 where there is none."""
    return max((place for place, frame in enumerate(frames) if is_own_file(frame.filename)), default=-1)


def model_line_of(error: BaseException) -> str:
    """The innermost line of the model that an error came through."""
    return model_line(below_trace(traceback.extract_tb(error.__traceback__)))


def line_of_node(meta: Mapping[str, Any]) -> str:
    """The line of the model that a node of a traced program comes from, by the node's `meta`."""
    return model_line(_frames_of(meta))


def code_of_node(meta: Mapping[str, Any]) -> str:
    """That line's code alone; nothing where there is none."""
    frames = _frames_of(meta)
    place = last_own_frame(frames)
    return frames[place].line or "" if place >= 0 else ""


def _frames_of(meta: Mapping[str, Any]) -> list[traceback.FrameSummary]:
    return [
        traceback.FrameSummary(file, int(line), function, line=code)
        for file, line, function, code in _FRAME.findall(meta.get("stack_trace") or "")
    ]


def below_trace(frames: Iterable[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """The frames inside of the innermost frame of rnnx's own, that is the model's part of a call."""
    kept: list[traceback.FrameSummary] = []
    for frame in frames:
        if frame.name == "run_model" and frame.filename.startswith(_FOREIGN):
            kept = []
        kept.append(frame)
    return kept


@functools.cache
def is_own_file(filename: str) -> bool:
    """Whether a file is the model's own source, and neither PyTorch's, rnnx's nor Python's."""
    path = str(Path(filename).resolve())
    if filename.startswith("<"):
        return False
    return not path.startswith(_FOREIGN) and not (path.startswith(_STANDARD) and "site-packages" not in path)
