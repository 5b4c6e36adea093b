"""What a verification takes for granted of a file, because nothing but the file itself says it."""

from collections.abc import Iterator

from rnnx.linting.findings import Finding
from rnnx.runners.subject import Subject

NONLINEARITY = "assumed-nonlinearity"
"""The rule's name under which a plain RNN's nonlinearity is told that only its graph says."""


def assumptions(subject: Subject) -> Iterator[Finding]:
    """Each as a finding: a file that has it wrong passes all the same."""
    assumed = subject.foreign.assumed_nonlinearity if subject.foreign else None
    if assumed is None:
        return
    other = "tanh" if assumed == "relu" else "relu"
    unusual = ", which nn.RNN applies only where it was told to" if assumed == "relu" else ""
    yield Finding(
        rule=NONLINEARITY,
        severity="warning" if assumed == "relu" else "info",
        node="the model",
        message=f"the truth is computed with {assumed}, as the graph has it{unusual}: no checkpoint says it, and a "
        f"file that should have had {other} would pass",
        fix=f"say what the module applies: --nonlinearity {assumed}, or --nonlinearity {other}",
    )
