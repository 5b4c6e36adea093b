"""Optional packages, imported where they are needed, with one error when they are missing."""

import importlib
from typing import Any

from rnnx.errors import MissingExtraError


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import an optional module.

    Raises:
        MissingExtraError: it is not installed; names the exact pip command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the package is there, something inside it is broken
        raise MissingExtraError(module, extra=extra, purpose=purpose) from None
