"""Loading what `torch.save` wrote, without executing anything in it.

A file is looked through first, by readers that make nothing of it (`rnnx.weights.pickled_checkpoint`), because torch
believes what a file claims: sizes, indices, how deep its tuples are, and that its members are stored as they are.
"""

import io
import mmap
import pickle
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from rnnx.errors import CheckpointError
from rnnx.extras import require
from rnnx.weights.pickle_objects import PickleDataError, UnsafePickleError
from rnnx.weights.pickled_checkpoint import Examined, UnsoundCheckpointError, check_legacy, check_zip
from rnnx.weights.stand_ins import StandIn, standing_in

_PICKLE_STARTS = tuple(b"\x80" + bytes([protocol]) for protocol in range(6))

_MOST_NODES = 1_000_000
"""Values in nested containers; a few bytes can describe containers that share their parts without end."""

_DEEPEST = 200
_LONGEST_KEY = 4096
"""Characters of a dotted path; a long name that a file has once can be on every level of a deep tree."""

_MOST_KEY_CHARACTERS = 2**24
"""Of all keys together, beside the size of the file."""

_LONGEST_REASON = 300
"""Characters of what torch says is wrong, which may hold a part of the file."""

_HYPER_PARAMETERS = ("hyper_parameters", "hparams", "args", "config", "cfg")
"""Where training scripts keep what a model was built with."""

_MOST_PARTS, _LONGEST_PART = 20, 100
"""Of a tuple that is a key, and of text in it."""


def loaded_pickle(path: Path, part: bytes | None = None) -> Any:
    """The tensors and plain containers of a file, or of the `part` of it that is given.

    Raises:
        CheckpointError: damaged, of another kind, or a pickle that would execute code.
        MissingExtraError: torch is not installed.
    """
    torch = require("torch", extra="export", purpose=f"reading {path.name}")
    try:
        with path.open("rb") if part is None else io.BytesIO(part) as file:
            examined = _look_through(file, path, _trusted(torch))
        mapped = examined.is_mappable and part is None
        with (
            standing_in(torch, examined.foreign, examined.mappings),
            warnings.catch_warnings(),
            torch.sparse.check_sparse_tensor_invariants(enable=True),
        ):
            warnings.simplefilter("ignore")  # about files that are refused below, or that load all the same
            source = path if part is None else io.BytesIO(part)
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
    except UnsafePickleError as error:
        raise _unsafe(path, str(error)) from None
    except pickle.UnpicklingError as error:
        raise _unsafe(path, _unpickler_reason(error)) from None
    except (PickleDataError, UnsoundCheckpointError) as error:
        raise not_a_checkpoint(path, str(error)) from None
    except CheckpointError:
        raise
    except OSError as error:
        raise not_a_checkpoint(path, error.strerror or str(error), "make the file readable") from None
    except Exception as error:  # the unpickler lets through whatever a damaged byte leads to
        raise not_a_checkpoint(path, _first_line(error)) from None


def flat_tensors(value: Any, path: Path) -> dict[str, Any]:
    """Every tensor in nested dicts, lists and tuples under its dotted path.

    Raises:
        CheckpointError: two have one path, a path is no text or has no end, or the containers have none.
    """
    torch = require("torch", extra="export", purpose=f"reading {path.name}")
    tensors: dict[str, Any] = {}
    characters = 0
    for count, (key, tensor) in enumerate(_walk(value, path)):
        if count == _MOST_NODES:
            raise not_a_checkpoint(path, f"containers of more than {_MOST_NODES:,} values")
        if isinstance(tensor, StandIn):
            _refuse_held_tensors(torch, tensor, key, path)
        if not isinstance(tensor, torch.Tensor):
            continue
        if key in tensors:
            raise not_a_checkpoint(path, f"two tensors under the path {key!r}")
        _check_key(key, path)
        characters += len(key)
        if characters > _MOST_KEY_CHARACTERS + path.stat().st_size:
            raise not_a_checkpoint(path, "keys far longer than the file")
        tensors[key] = tensor
    return tensors


def _refuse_held_tensors(torch: Any, stand_in: StandIn, key: str, path: Path) -> None:
    """Refuse an object that holds tensors, for those could be the model's weights; hyper-parameters are none.

    Raises:
        CheckpointError: it does.
    """
    if key.split(".")[0] in _HYPER_PARAMETERS:
        return
    waiting, seen = [stand_in.held], set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            raise _unsafe(path, f"an object at {key!r} that holds tensors")
        if isinstance(value, StandIn):
            waiting.append(value.held)
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)


def not_a_checkpoint(path: Path, reason: str, remedy: str = "save or copy the checkpoint again") -> CheckpointError:
    """The error about a file that is damaged or of another kind."""
    return CheckpointError(str(path), got=reason, expected="a whole file written by torch.save", remedy=remedy)


def _look_through(file: IO[bytes], path: Path, trusted: list[str]) -> Examined:
    """Refuse what torch should not see."""
    start = file.read(2)
    if start == b"PK":
        return check_zip(file, trusted)
    if start not in _PICKLE_STARTS:
        raise not_a_checkpoint(path, "neither a zip nor a pickle")
    if isinstance(file, io.BytesIO):
        return check_legacy(file.getvalue(), trusted)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return check_legacy(data, trusted)


def _trusted(torch: Any) -> list[str]:
    """The names that the user told torch to trust."""
    given = torch.serialization.get_safe_globals()
    return [item[1] if isinstance(item, tuple) else f"{item.__module__}.{item.__qualname__}" for item in given]


def _walk(value: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """A value and all below it, each under its dotted key, in order."""
    # on a stack of its own: a call for every level would cost what the levels cost together
    waiting = [iter([("", value)])]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        yield found
        items = _items(found[1])
        if items is not None:
            if len(waiting) > _DEEPEST:
                raise not_a_checkpoint(path, "containers nested without end")
            waiting.append(_below(found[0], items))


def _items(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """What a container holds, by keys or numbers; None for anything else."""
    if isinstance(value, Mapping):
        return type(value).items(value)  # an attribute of the file's own may be in the way of the method
    return enumerate(value) if isinstance(value, list | tuple) else None


def _below(lead: str, items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    """Values under dotted keys, which are cut off where they are too long for any tensor's."""
    for name, inner in items:
        shown = name if isinstance(name, str) else _shown(name)
        yield (f"{lead}.{shown}" if lead else shown)[: _LONGEST_KEY + 1], inner


def _shown(name: Any) -> str:
    """A key that is no text: a number or a short tuple; of others the type alone, because a tensor shows its values."""
    short = isinstance(name, tuple) and len(name) <= _MOST_PARTS and all(_is_short(part) for part in name)
    return str(name) if short or _is_short(name) else f"<{type(name).__name__}>"


def _is_short(name: Any) -> bool:
    text = isinstance(name, str | bytes) and len(name) <= _LONGEST_PART
    return text or name is None or isinstance(name, bool | int | float)


def _check_key(key: str, path: Path) -> None:
    if len(key) > _LONGEST_KEY:
        raise not_a_checkpoint(path, f"a tensor under a key of more than {_LONGEST_KEY:,} characters ({key[:40]!r}…)")
    try:
        key.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise not_a_checkpoint(path, f"a tensor under a key that is no text ({key[:40]!a})") from None


def _unsafe(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        got=f"a pickle that needs more than tensors ({reason})",
        expected="tensors in plain containers, loadable without executing code",
        remedy="save model.state_dict(), best as safetensors",
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:_LONGEST_REASON]


def _unpickler_reason(error: Exception) -> str:
    """The one telling sentence of torch's page of advice, such as `Unsupported global: GLOBAL posix.system`."""
    telling = r"(?:WeightsUnpickler error:|Trying to load)\s*(.+?)(?: was not an allowed| whose module|\.? Please|\n|$)"
    found = re.search(telling, str(error))
    return found.group(1) if found else _first_line(error)
