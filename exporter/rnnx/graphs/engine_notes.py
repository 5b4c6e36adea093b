"""What an engine is known to refuse in a graph that ONNX Runtime runs, or to compute otherwise."""

from collections.abc import Iterable

from rnnx.linting.findings import Finding


def engine_notes(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The errors that concern some backends alone: a file with one is right, and no engine is to be had of it."""
    narrow = [own for own in findings if own.severity == "error" and own.backends]
    return tuple(f"{own.node}: {own.message} ({', '.join(own.backends)})" for own in narrow)
