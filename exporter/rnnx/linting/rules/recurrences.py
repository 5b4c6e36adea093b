"""The recurrent operators of a graph: what their inputs and outputs are for.

https://onnx.ai/onnx/operators/onnx__LSTM.html, `onnx__GRU.html` and `onnx__RNN.html`; the quantized LSTM is ONNX
Runtime's own, https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.DynamicQuantizeLSTM.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onnx import NodeProto

from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx, shown

_FUSED = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recurrence:
    """A node that runs a recurrence over a whole sequence; `operator` is LSTM, GRU or RNN, quantized or not."""

    node: NodeProto
    scope: Scope
    operator: str
    quantized: bool
    attributes: Mapping[str, Any]

    @property
    def shown(self) -> str:
        """The node for people."""
        return shown(self.node)

    @property
    def gates(self) -> int:
        """G, the gates whose rows lie below each other in W and R."""
        return {"LSTM": 4, "GRU": 3, "RNN": 1}[self.operator]

    @property
    def x(self) -> str:
        """The input sequence, `(T, B, I)`; with layout=1 `(B, T, I)`."""
        return str(self.node.input[0])

    @property
    def sequence_lens(self) -> str:
        """The lengths `(B)`; empty without."""
        return input_of(self.node, 4)

    @property
    def initial_states(self) -> tuple[str, ...]:
        """h0 and, for LSTM, c0, `(D, B, H)` each; an empty name for one that is left out."""
        return tuple(input_of(self.node, place) for place in self._state_places)

    @property
    def outputs(self) -> tuple[str, str, str]:
        """Y, Y_h and Y_c; empty where there is none or nobody wants it."""
        names = (*self.node.output, "", "", "")
        return names[0], names[1], names[2] if self.operator == "LSTM" else ""

    @property
    def has_layout(self) -> bool:
        """Whether batch comes first, which few backends can."""
        return bool(self.attributes.get("layout"))

    @property
    def directions(self) -> int:
        """1, or 2 for a bidirectional node."""
        return 2 if self.attributes.get("direction") == b"bidirectional" else 1

    @property
    def hidden_size(self) -> int | None:
        """H."""
        size = self.attributes.get("hidden_size")
        return int(size) if size else None

    @property
    def element_type(self) -> int | None:
        """The type of x, W and R, which ONNX demands to be one; whichever of them the graph declares."""
        types = (self.scope.element_type(name) for name in self.node.input[:3])
        return next((kind for kind in types if kind is not None), None)

    @property
    def _state_places(self) -> tuple[int, ...]:
        return (5, 6) if self.operator == "LSTM" else (5,)


def recurrences_of(scope: Scope) -> Iterator[Recurrence]:
    """Every LSTM, GRU and RNN node of a scope, ONNX Runtime's quantized LSTM included."""
    for node in scope.nodes:
        quantized = node.op_type == "DynamicQuantizeLSTM" and node.domain == "com.microsoft"
        if quantized or is_onnx(node, *_FUSED):
            yield Recurrence(
                node=node,
                scope=scope,
                operator="LSTM" if quantized else node.op_type,
                quantized=quantized,
                attributes=attributes_of(node),
            )
