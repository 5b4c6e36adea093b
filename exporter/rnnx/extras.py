"""Optional packages, imported where they are needed, with one error when they are missing or do not fit together."""

import importlib
import importlib.metadata
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from rnnx.errors import BrokenExtraError, MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import an optional module.

    Raises:
        MissingExtraError: it is not installed; names the exact pip command.
        BrokenExtraError: it is installed and its import fails; names what is missing, or the versions that do not fit.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if f"{module}.".startswith(f"{missing}."):
            raise MissingExtraError(module, extra=extra, purpose=purpose) from None
        raise BrokenExtraError(
            got=f"no module {missing}, which {installed(module)} imports",
            expected="it installed",
            extra=extra,
            purpose=purpose,
        ) from error
    except Exception as error:  # an ImportError or AttributeError of two versions, an OSError of a library, and others
        raise BrokenExtraError(
            got=f"{_first_line(error)} from importing {module}",
            expected=f"versions that fit together, not {' with '.join(_involved(module, error))}",
            extra=extra,
            purpose=purpose,
        ) from error


def installed(module: str) -> str:
    """The package of a module with its version, such as `onnx 1.19.0`; the module's name alone where none is known."""
    root = module.partition(".")[0]
    for package in importlib.metadata.packages_distributions().get(root, [])[:1]:
        return f"{package} {importlib.metadata.version(package)}"
    return root


def _involved(module: str, error: Exception) -> dict[str, None]:
    """The packages of a failed import: the one asked for, the one whose line failed, the one that lacks a name."""
    names = (module, *_modules_of(error))
    roots = dict.fromkeys(name.partition(".")[0] for name in names)
    return dict.fromkeys(installed(root) for root in roots if root != "importlib")


def _modules_of(error: Exception) -> Iterator[str]:
    frame, last = error.__traceback__, ""
    while frame is not None:
        last = frame.tb_frame.f_globals.get("__name__", last)
        frame = frame.tb_next
    yield last
    if isinstance(error, ImportError) and error.name:
        yield error.name
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        yield error.obj.__name__


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"[:300]
