"""One finding for each kind and file: the nodes that a rule names one by one, put together."""

from collections.abc import Iterable
from dataclasses import replace

from rnnx.linting.findings import Finding


def by_kind(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The first finding of each rule, severity and backends, with all further ones as its `others`."""
    kinds: dict[tuple[object, ...], dict[Finding, None]] = {}
    for own in findings:
        kinds.setdefault((own.rule, own.severity, own.backends), {})[own] = None
    return tuple(_joined(*own) for own in kinds.values())


def _joined(first: Finding, *further: Finding) -> Finding:
    if not further:
        return first
    others = (own.node if own.message == first.message else f"{own.node}: {own.message}" for own in further)
    return replace(first, node=f"{first.node} (and {len(further)} more)", others=tuple(others))
