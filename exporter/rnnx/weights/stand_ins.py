"""Inert objects in place of what a checkpoint holds beside its tensors, such as the arguments of the training script.

Nothing of theirs is imported or called. What could hide weights or code is refused still: torch's own classes, so a
pickled module, and functions of Python itself.
"""

import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

_OF_PYTHON = {
    "argparse.Namespace",
    "builtins.bool",
    "builtins.dict",
    "builtins.float",
    "builtins.int",
    "builtins.list",
    "builtins.str",
    "builtins.tuple",
    "collections.defaultdict",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "decimal.Decimal",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "types.SimpleNamespace",
    "typing.Any",
    "uuid.UUID",
}
"""Classes of Python's own library that stand for data alone."""

_LOCK = threading.Lock()


class StandIn:
    """Any object: it takes what its class was called with and its state, and does nothing with them."""

    held: list[Any]

    def __new__(cls, *held: Any) -> Any:
        """An object that keeps what it was made of, to be searched for tensors."""
        made = super().__new__(cls)
        made.__dict__["held"] = [*held]
        return made

    def __init__(self, *held: Any) -> None:
        """As `object.__init__`."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__["held"].append(state)


class DictStandIn:
    """A mapping of a class of its own, such as Lightning's hyper-parameters: a plain dict."""

    def __new__(cls, *_: Any) -> Any:
        """An empty dict, whose items follow."""
        return {}


def may_stand_in(name: str) -> bool:
    """Whether an object of this class, or what this function gives, may be left as an inert object."""
    root = name.partition(".")[0]
    if root in ("torch", "torchvision", "torchaudio", "__builtin__", "copy_reg", "__builtins__"):
        return False
    return name in _OF_PYTHON or root not in sys.stdlib_module_names


@contextmanager
def standing_in(torch: Any, names: Collection[str], mappings: Collection[str]) -> Iterator[None]:
    """Let torch's unpickler of weights make stand-ins for these names inside the block, dicts for the `mappings`."""
    if not names:
        yield
        return
    given = [(DictStandIn if own in mappings else StandIn, own) for own in names]
    with _LOCK, torch.serialization.safe_globals(given):
        yield
