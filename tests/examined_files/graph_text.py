"""Graphs in ONNX's own text form (https://onnx.ai/onnx/repo-docs/Syntax.html) with seeded weights, edited as text."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import ModelProto, checker, numpy_helper, parser

SEED = 20_271


@dataclass(frozen=True, kw_only=True)
class GraphText:
    """A graph as text, its constants by name, and functions; every edit gives another one."""

    text: str
    constants: Mapping[str, Any]
    functions: str = ""
    producer: str = "hand"
    opset: int = 17

    def edited(self, *pairs: tuple[str, str], **constants: Any) -> "GraphText":
        """With every first of a pair replaced by the second, and with other or further constants.

        Raises:
            ValueError: a text is not there, so that nothing would be broken.
        """
        text, functions = self.text, self.functions
        for old, new in pairs:
            if old not in text + functions:
                raise ValueError(f"no {old!r} in the graph")
            text, functions = text.replace(old, new), functions.replace(old, new)
        return replace(self, text=text, functions=functions, constants={**self.constants, **constants})

    def model(self) -> ModelProto:
        """The model, whose constants are its initializers."""
        domains = ", ".join(
            f'"{name}" : {number}' for name, number in (("", self.opset), ("local", 1), ("com.microsoft", 1))
        )
        head = f'<ir_version: 8, opset_import: [{domains}], producer_name: "{self.producer}">'
        model: ModelProto = parser.parse_model(f"{head}\n{self.text}\n{self.functions}")
        for name, value in self.constants.items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return model

    def checked(self) -> ModelProto:
        """The model, which ONNX's checker has nothing against."""
        model = self.model()
        checker.check_model(model, full_check=True)
        return model


@dataclass(kw_only=True)
class Draw:
    """Seeded weights, uniform within ±1/√H as PyTorch's."""

    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))

    def layer(self, gates: int, width: int, hidden: int, directions: int = 1, suffix: str = "") -> dict[str, Any]:
        """`W`, `R` and `B` of one recurrent node."""
        rows = gates * hidden
        shapes = {"W": (directions, rows, width), "R": (directions, rows, hidden), "B": (directions, 2 * rows)}
        return {f"{name}{suffix}": self.uniform(shape, hidden) for name, shape in shapes.items()}

    def uniform(self, shape: tuple[int, ...], hidden: int = 8) -> Any:
        """Values for one tensor."""
        return self.chance.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(hidden))


def ints(*values: int) -> Any:
    """A row of int64."""
    return np.array(values, np.int64)
