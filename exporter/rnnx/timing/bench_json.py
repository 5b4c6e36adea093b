"""A bench report as JSON data, and back."""

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from rnnx.artifacts import staged
from rnnx.errors import ReportError
from rnnx.timing.figures import BenchReport, Estimate

SCHEMA = 1

KIND = "bench"


def json_from_bench(report: BenchReport) -> dict[str, Any]:
    """The report as plain JSON data, keys in a fixed order."""
    return {"schema": SCHEMA, "kind": KIND, **_plain(report)}


def bench_from_json(data: object, subject: str) -> BenchReport:
    """The report in plain JSON data; `subject` names the file in errors.

    Raises:
        ReportError: another kind of file, another schema, or a value missing, unknown or of the wrong type.
    """
    if not isinstance(data, dict) or data.get("kind") != KIND:
        got = f"kind {data.get('kind')!r}" if isinstance(data, dict) else type(data).__name__
        raise ReportError(subject, got=got, expected="a report of rnnx bench", remedy="give a file of bench --json")
    if data.get("schema") != SCHEMA:
        raise ReportError(
            subject,
            got=f"schema {data.get('schema')!r}",
            expected=f"schema {SCHEMA}",
            remedy="measure again with this version of rnnx",
        )
    values = {key: value for key, value in data.items() if key not in ("schema", "kind")}
    try:
        report: BenchReport = _read(BenchReport, values, "report")
    except _MalformedError as error:
        raise ReportError(subject, got=str(error), expected="a whole report", remedy="measure again") from None
    return report


def write_bench(report: BenchReport, path: Path) -> None:
    """Write the report as JSON, whole or not at all; raises `OutputError` as `staged`."""
    with staged(path) as stage:
        text = json.dumps(json_from_bench(report), indent=2, allow_nan=False)
        (stage / path.name).write_text(text + "\n", encoding="utf-8")


def read_bench(path: Path) -> BenchReport:
    """Read what `write_bench` wrote.

    Raises:
        ReportError: missing, damaged, of another kind or schema.
    """
    subject = f"report {path}"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        got = error.strerror or str(error)
        raise ReportError(subject, got=got, expected="a readable file", remedy="check the path") from None
    except (ValueError, RecursionError) as error:  # text that is no UTF-8 is a ValueError too
        raise ReportError(
            subject, got=f"no JSON ({error})", expected="a report of rnnx bench", remedy="measure again"
        ) from None
    return bench_from_json(data, subject)


class _MalformedError(Exception):
    """A value is not what its field takes; the message says where and what."""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _read(kind: Any, value: Any, where: str) -> Any:
    """A value of the type that a field declares: a dataclass, a tuple, a mapping, an optional or a plain one."""
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, where)
    if origin in (Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _read(inner, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is kind:
        return value
    raise _MalformedError(f"{type(value).__name__} for {where}")


def _read_fields(kind: Any, value: Any, where: str) -> Any:
    hints = get_type_hints(kind)
    if not isinstance(value, dict) or set(value) != set(hints):
        names = set(value) ^ set(hints) if isinstance(value, dict) else {type(value).__name__}
        raise _MalformedError(f"{', '.join(sorted(names))} missing or unknown in {where}")
    found = kind(**{name: _read(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})
    if isinstance(found, Estimate) and not 0 < found.low <= found.value <= found.high < math.inf:
        raise _MalformedError(f"{found.value:g} in {found.low:g}..{found.high:g} for {where}")
    return found
