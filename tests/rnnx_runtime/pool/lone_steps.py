"""One stream in a session of its own, a step at a time: what a stream of a pool must equal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from rnnx_runtime import Session
from rnnx_runtime.arrays.frame_layout import FrameLayout
from rnnx_runtime.contract import TensorSpec


class LoneSteps:
    """A stream whose chunks are pushed step by step."""

    def __init__(self, session: Session, snapshot: bytes | None = None) -> None:
        self.stream = session.stream(snapshot)
        self.layout = FrameLayout(session.spec)
        self._inputs = session.spec.plain_inputs

    def drawn(self, count: int, chance: Generator) -> Any:
        """A frame where the count is 0 and steps are of one frame, else a chunk of so many steps, at least one."""
        found = {}
        for name, own in self.layout.inputs.items():
            dims = tuple(int(dim) for dim in own.step_dims)
            if count and (own.is_sequence or not self.layout.has_time):
                dims = tuple(count * own.unit if isinstance(dim, str) else int(dim) for dim in own.chunk_dims)
            is_float = own.spec.dtype == "float32"
            found[name] = chance.standard_normal(dims, np.float32) if is_float else chance.integers(0, 11, dims)
        return found if self.layout.lone is None else next(iter(found.values()))

    def steps(self, x: Any) -> int:
        """How many steps a push has."""
        values, is_chunk = self.layout.checked(x)
        return self.layout.count(values) if is_chunk else 1

    def push(self, x: Any) -> Any:
        """What the stream gives for a frame or a chunk."""
        values, is_chunk = self.layout.checked(x)
        if not is_chunk:
            return self.stream.push(x)
        steps = [by_name(self.stream.push(own), self._outputs) for own in self._parts(values)]
        joined = {name: self._joined(name, [own[name] for own in steps]) for name in steps[0]}
        return joined if isinstance(x, Mapping) or self.layout.lone_output is None else next(iter(joined.values()))

    @property
    def _outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(own.spec for own in self.layout.outputs.values())

    def _parts(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = []
        for step in range(self.layout.count(values)):
            part = {}
            for name, own in self.layout.inputs.items():
                if own.is_sequence or not self.layout.has_time:
                    part[name] = values[name].take(range(own.unit * step, own.unit * (step + 1)), own.chunk_axis)
                else:
                    part[name] = values[name]
            found.append(part)
        return found

    def _joined(self, name: str, parts: list[Any]) -> Any:
        own = self.layout.outputs[name]
        if own.is_sequence or not self.layout.has_time:
            return np.concatenate(parts, own.chunk_axis)
        return parts[-1]


def by_name(given: Any, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Inputs or outputs by their names; a lone array is the one that there is."""
    return dict(given) if isinstance(given, Mapping) else {specs[0].name: given}
