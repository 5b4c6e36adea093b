"""Calls by which a checkpoint's pickle makes other values than tensors: which arguments each may have."""

from collections.abc import Callable
from typing import Any

from rnnx.weights.pickle_keys import check_key
from rnnx.weights.pickle_objects import Made, Named, unusual
from rnnx.weights.pickled_storages import is_size

_CODECS = ("latin1", "latin-1")


def _dictionary(name: str, arguments: tuple[Any, ...]) -> None:
    """`OrderedDict()`, or `OrderedDict([[key, value], …])` as Python 2 wrote it; `Counter({…})`."""
    match arguments:
        case () | (dict(),):
            return
        case (list(pairs),) if all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            if not any(check_key(key) for key, _ in pairs):
                return
    raise unusual(name)


def _set_of(name: str, arguments: tuple[Any, ...]) -> None:
    """`set([…])`, of text and small numbers."""
    match arguments:
        case () | ([],):
            return
        case (list(items),) if not any(check_key(item) for item in items):
            return
    raise unusual(name)


def _encoded(name: str, arguments: tuple[Any, ...]) -> None:
    """`_codecs.encode(text, "latin1")`, which is how bytes are written, and `bytearray(text, "latin-1")`."""
    match arguments:
        case () if name == "builtins.bytearray":
            return
        case (str(), str(codec)) if codec in _CODECS:
            return
        case (Made(maker=Named(name="_codecs.encode")),) if name == "builtins.bytearray":
            return
    raise unusual(name)


def _number(name: str, arguments: tuple[Any, ...]) -> None:
    """`complex(real, imaginary)`."""
    if not all(type(part) in (int, float) for part in arguments):
        raise unusual(name)


def _size(name: str, arguments: tuple[Any, ...]) -> Any:
    """`torch.Size((…))`."""
    if len(arguments) != 1 or not is_size(arguments[0]):
        raise unusual(name)
    return arguments[0]


def _text(name: str, arguments: tuple[Any, ...]) -> Any:
    """`torch.serialization._get_layout("torch.strided")` and `torch.device("cuda", 0)`."""
    match arguments:
        case (str(word),) | (str(word), int()) if len(word) < 100:
            return word
    raise unusual(name)


VALUE_CALLS: dict[str, Callable[[str, tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _dictionary,
    "collections.Counter": _dictionary,
    "builtins.set": _set_of,
    "_codecs.encode": _encoded,
    "builtins.bytearray": _encoded,
    "builtins.complex": _number,
    "torch.Size": _size,
    "torch.serialization._get_layout": _text,
    "torch.device": _text,
}
"""What checks the arguments of each call."""
