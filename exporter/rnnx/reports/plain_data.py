"""The values of a report as plain JSON data, and back, by the types that their fields declare."""

import dataclasses
import functools
import math
import types
from collections.abc import Collection, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST_REPORT = 2**28
"""Bytes; a report of the full matrix and every backend has some 200 KiB."""


class MalformedError(Exception):
    """Data is not what its field takes; the message says where and what."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainForm:
    """How values become data, apart from their fields.

    `derived` are properties that are written beside the fields of a type and not read back, each with the type of its
    value; `bool` stands for the truth of the value itself. `unbounded` are the types whose floats may be NaN or
    infinite, which JSON cannot say: they are written as null, and null is read as infinite.
    """

    derived: Mapping[type, Mapping[str, Any]]
    unbounded: Collection[type]


def plain_from_value(value: Any, form: PlainForm) -> Any:
    """Plain data: objects, arrays, texts, numbers, true, false and null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        added = {name: _derived(value, name) for name in form.derived.get(type(value), ())}
        return {name: plain_from_value(item, form) for name, item in (added | fields).items()}
    if isinstance(value, Mapping):
        return {key: plain_from_value(item, form) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain_from_value(item, form) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # a path may hold bytes that are no text
    return None if isinstance(value, float) and not math.isfinite(value) else value


def value_from_plain(kind: Any, data: Any, where: str, form: PlainForm, *, unbounded: bool = False) -> Any:
    """A value of the type `kind`: a dataclass, a tuple, a mapping, an optional, a literal or a plain one.

    Raises:
        MalformedError: the data lacks a field, has an unknown one, or is of another type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, data, where, form)
    if origin in (Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if data is None else value_from_plain(inner, data, where, form, unbounded=unbounded)
    if origin is tuple and isinstance(data, list):
        parts = enumerate(data)
        return tuple(
            value_from_plain(arguments[0], item, f"{where}[{i}]", form, unbounded=unbounded) for i, item in parts
        )
    if origin is not None and origin is not Literal and issubclass(origin, Mapping) and isinstance(data, dict):
        return {key: value_from_plain(arguments[1], item, f"{where}.{key}", form) for key, item in data.items()}
    if kind is float:
        return _read_float(data, where, unbounded=unbounded)
    if data in arguments if origin is Literal else type(data) is kind:
        return data
    raise MalformedError(f"{_shown(data)} for {where}")


@functools.cache
def field_types(kind: type) -> Mapping[str, Any]:
    """The type of each field of a dataclass, by name."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _derived(value: Any, name: str) -> Any:
    return bool(value) if name == "passed" else getattr(value, name)


def _read_fields(kind: Any, data: Any, where: str, form: PlainForm) -> Any:
    if not isinstance(data, dict):
        raise MalformedError(f"{_shown(data)} for {where}")
    hints = field_types(kind)
    wrong = set(data) ^ {*hints, *form.derived.get(kind, ())}
    if wrong:
        raise MalformedError(f"{', '.join(sorted(wrong))} missing or unknown in {where}")
    unbounded = kind in form.unbounded
    values = {
        name: value_from_plain(hint, data[name], f"{where}.{name}", form, unbounded=unbounded)
        for name, hint in hints.items()
    }
    return kind(**values)


def _read_float(data: Any, where: str, *, unbounded: bool) -> float:
    if data is None and unbounded:
        return math.inf
    if type(data) in (int, float) and abs(data) <= 2**1023:
        return float(data)
    raise MalformedError(f"{_shown(data)} for {where}")


def _shown(data: Any) -> str:
    return f"{data!r:.40}" if isinstance(data, int | float | str) else type(data).__name__
