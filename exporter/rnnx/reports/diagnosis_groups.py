"""The same diagnosis of several backends, told once."""

import dataclasses
from collections.abc import Iterable

from rnnx.diagnosis.diagnosis import Diagnosis


def by_cause(diagnoses: Iterable[Diagnosis]) -> tuple[tuple[tuple[str, ...], Diagnosis], ...]:
    """The backends that share each diagnosis, and the first one's; the same apart from the backend is one."""
    groups: dict[Diagnosis, list[Diagnosis]] = {}
    for one in diagnoses:
        groups.setdefault(dataclasses.replace(one, backend=""), []).append(one)
    return tuple((tuple(one.backend for one in group), group[0]) for group in groups.values())
