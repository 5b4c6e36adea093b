"""JSON as RFC 8259 means it: no NaN, no key twice, no nesting beyond what rnnx writes.

https://www.rfc-editor.org/rfc/rfc8259
"""

import json
from typing import Any, NoReturn

DEEPEST = 16
"""Levels of objects and arrays; rnnx writes five."""


def value_from_json(data: bytes) -> Any:
    """The value of JSON text in UTF-8.

    Raises:
        ValueError: not JSON, NaN or Infinity, a key given twice in one object, or nested deeper than `DEEPEST`.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise _too_deep() from None
    if not _is_shallow(value):
        raise _too_deep()
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key given twice in one object")
    return values


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no JSON number")


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False


def _too_deep() -> ValueError:
    return ValueError(f"values nested deeper than {DEEPEST} levels")
