"""What is known about a failed row, as a value."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where values first leave the truth; what could not be told, or does not apply, is None.

    `output` and `case` are the failing output and the smallest failing case, `layer` counts from 0, `gate` is PyTorch's
    letter (LSTM i, f, g, o; GRU r, z, n), `time_step` counts from 0 in the sequence's own order.
    """

    output: str
    case: str
    layer: int | None = None
    direction: Direction | None = None
    gate: str | None = None
    time_step: int | None = None

    @property
    def text(self) -> str:
        """The location in words, such as `output hn of case T5 B3, layer 0, forward, gate f, from time step 2`."""
        parts = [f"output {self.output} of case {self.case}"]
        if self.layer is not None:
            parts.append(f"layer {self.layer}")
        if self.direction is not None:
            parts.append(self.direction)
        if self.gate is not None:
            parts.append(f"gate {self.gate}")
        if self.time_step is not None:
            parts.append(f"from time step {self.time_step}")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Why one backend's row failed, as far as it can be told.

    `cause` is the name of a known cause (see `KNOWN_CAUSES` in `rnnx.diagnosis.causes`), None where none explains the
    values. `summary` is one sentence for people; `evidence` are the measurements it rests on; `node` is the graph's
    node that holds the fault, where one is known; `remedy` says what to do.
    """

    backend: str
    cause: str | None
    summary: str
    remedy: str
    location: Location | None = None
    node: str = ""
    evidence: tuple[str, ...] = ()
