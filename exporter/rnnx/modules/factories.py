"""Importing a model by name: `package.module:factory`."""

import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnx.errors import FactoryError
from rnnx.extras import require
from rnnx.modules.model_code import model_code, raised
from rnnx_runtime.files.regular_file import found_at

if TYPE_CHECKING:
    from torch import nn

_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")

_MOST_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class MadeModel:
    """What a factory gave: a module, and the inputs to try it with where it gave some."""

    module: "nn.Module"
    example_inputs: tuple[Any, ...] | Mapping[str, Any] | None = None


def is_factory(source: str) -> bool:
    """Whether a source names a factory: it ends in `:attribute`, and no file has that name."""
    module, colon, attribute = source.rpartition(":")
    return bool(module and colon and _NAME.fullmatch(attribute)) and not found_at(Path(source))


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let modules in `folder` be imported first inside the block, as `python -m` lets those of the current folder."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if str(folder) in sys.path:  # what was imported may have changed the path too
            sys.path.remove(str(folder))


def make_model(source: str) -> MadeModel:
    """Import and call a factory, or take the `nn.Module` that stands in its place.

    A factory takes no arguments and returns a module, or `(module, example_inputs)`.

    Raises:
        FactoryError: it is missing, raises, or returns no module.
        MissingExtraError: torch is not installed.
    """
    nn = require("torch.nn", extra="export", purpose=f"exporting {source}")
    with model_code(source):  # what it gives may be of a class that answers no question
        return _made(source, nn, _attribute(source))


def _made(source: str, nn: Any, factory: Any) -> MadeModel:
    made = factory if isinstance(factory, nn.Module) else _called(source, factory)
    module, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise _refused(
            source,
            _described(made),
            "an nn.Module, or (module, example_inputs)",
            "return the model from the factory",
        )
    if type(module).__hash__ is None:  # PyTorch itself keeps modules in sets
        raise _refused(source, "a module that defines __eq__ alone", "one with a hash", "define __hash__ beside it")
    if inputs is not None and not isinstance(inputs, tuple | list | Mapping) and not hasattr(inputs, "detach"):
        raise _refused(
            source,
            f"example inputs of type {type(inputs).__name__}",
            "a tuple of inputs, or a dict by name",
            "write (x,) for one tensor",
        )
    return MadeModel(module=module, example_inputs=as_call(inputs))


def as_call(inputs: Any) -> tuple[Any, ...] | Mapping[str, Any] | None:
    """Example inputs as the arguments of a call: a lone tensor is a call's only argument."""
    if inputs is None or isinstance(inputs, Mapping):
        return inputs
    return tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)


def _attribute(source: str) -> Any:
    name, _, attribute = source.rpartition(":")
    if not _NAME.fullmatch(name) or name.endswith(".py"):
        path = name.removesuffix(".py").replace("\\", "/").strip("/").replace("/", ".")
        remedy = f"write {path}:{attribute}" if _NAME.fullmatch(path) else "write such as models.tagger:make_tagger"
        raise _refused(source, f"{name!r} for a module", "a dotted name that Python can import", remedy)
    value: Any = _imported(source, name)
    for part in attribute.split("."):
        value = _part(source, value, part)
    return value


def _part(source: str, value: Any, part: str) -> Any:
    try:
        return getattr(value, part)
    except AttributeError:
        remedy = "check the name after the colon"
        raise _refused(source, f"no attribute {part!r}", _offered(value, part), remedy) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of a module that imports its attributes late
        raise _raised(source, "importing it", error) from None


def _imported(source: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _raised(source, "importing it", error) from None
        raise _refused(
            source,
            f"no module {error.name!r}",
            f"{name!r} importable from {Path.cwd()}",
            "run rnnx in the folder that has it, or install it",
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _raised(source, "importing it", error) from None


def _called(source: str, factory: Any) -> Any:
    if not callable(factory):
        raise _refused(source, _described(factory), "a function or class to call", "name the factory of the model")
    needed = _needed_arguments(factory)
    if needed:
        raise _refused(
            source,
            f"one that needs the arguments {', '.join(needed)}",
            "one that needs none",
            "write a function without arguments that builds the model with them, and name it",
        )
    try:
        return factory()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _raised(source, "calling it", error) from None


def _needed_arguments(factory: Any) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []  # a built-in that does not say
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [own.name for own in parameters if own.default is own.empty and own.kind not in variadic]


def _offered(value: Any, wanted: str) -> str:
    """The names nearest to the wanted one, or the first that are defined there."""
    held = {name: own for name, own in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    near = difflib.get_close_matches(wanted, held, n=3)
    home = getattr(value, "__name__", "")
    shown = near or [name for name, own in held.items() if getattr(own, "__module__", None) == home][:_MOST_SHOWN]
    return f"such as {', '.join(shown)}" if shown else "one that is there"


def _described(value: Any) -> str:
    if inspect.iscoroutine(value):
        value.close()
        return "a coroutine"
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _retry(source: str) -> str:
    """Python that does the same by hand."""
    name, _, attribute = source.rpartition(":")
    return f"import {name}; {name}.{attribute}()"


def _raised(source: str, doing: str, error: BaseException) -> FactoryError:
    return raised(source, doing, error, f"mend this line; python -c '{_retry(source)}' shows the whole traceback")


def _refused(source: str, got: str, expected: str, remedy: str) -> FactoryError:
    return FactoryError(f"factory {source}", got=got, expected=expected, remedy=remedy)
