"""The four graphs that TensorRT accepts and, without a word, computes otherwise than is expected of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from tests.contracts import contract_of

from rnnx_runtime.contract import Contract, Source

Array = NDArray[Any]

INPUT_SIZE, HIDDEN_SIZE, CLIP = 5, 8, 0.3
SEED = 21

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Softplus": lambda x: np.log1p(np.exp(x)),
}


USUAL_ACTIVATIONS = ("Sigmoid", "Tanh", "Tanh")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An LSTM in float64 as https://onnx.ai/onnx/operators/onnx__LSTM.html writes it, gates in the order i, o, f, c."""

    activations: tuple[str, str, str]
    clip: float
    clips_cell: bool

    def run(self, x: Array, weights: Mapping[str, Array]) -> dict[str, Array]:
        """`output`, `hn` and `cn` from `x (T, B, I)` and zero states."""
        h = c = np.zeros((x.shape[1], HIDDEN_SIZE))
        outputs = []
        for step in x.astype(np.float64):
            sums = step @ weights["W"].T + h @ weights["R"].T + weights["B"].reshape(2, -1).sum(axis=0)
            h, c = self._step(sums.clip(-self.clip, self.clip), c)
            outputs.append(h)
        return {"output": np.stack(outputs), "hn": h[np.newaxis], "cn": c[np.newaxis]}

    def _step(self, sums: Array, c: Array) -> tuple[Array, Array]:
        f, g, h = (ACTIVATIONS[name] for name in self.activations)
        i, o, forget, candidate = np.split(sums, 4, axis=-1)
        c = f(forget) * c + f(i) * g(candidate)
        return f(o) * h(c.clip(-self.clip, self.clip) if self.clips_cell else c), c


@dataclass(frozen=True, kw_only=True)
class TrapGraph:
    """An LSTM as one ONNX node, its inputs and outputs named as the contract's, which are those of an encoder.

    `expected` gives `output`, `hn` and `cn` in float64 for `x`.
    """

    model: ModelProto
    contract: Contract
    expected: Callable[[Array], dict[str, Array]]


def batch_first_graph() -> TrapGraph:
    """`layout=1`: the batch comes first in x, which TensorRT takes for the time."""
    return _graph(batch_first=True, layout=1)


def clipped_graph(*, clips_cell: bool = False) -> TrapGraph:
    """`clip`: TensorRT also clips the cell state on its way into h's activation; ONNX Runtime clips the gates alone.

    The operator's page has every activation's input clipped, which is what `clips_cell` makes the expectation.
    """
    return _graph(clip=CLIP, clips_cell=clips_cell)


def softplus_graph() -> TrapGraph:
    """The candidate by Softplus, which TensorRT evaluates with alpha and beta at 0."""
    return _graph(activations=("Sigmoid", "Softplus", "Tanh"))


def float64_graph() -> TrapGraph:
    """An LSTM in float64, which TensorRT computes in float32."""
    return _graph(dtype=np.float64)


TRAP_GRAPHS: dict[str, Callable[[], TrapGraph]] = {
    "layout": batch_first_graph,
    "clip": clipped_graph,
    "softplus": softplus_graph,
    "float64": float64_graph,
}


def _graph(
    *,
    dtype: type[np.floating[Any]] = np.float32,
    batch_first: bool = False,
    activations: tuple[str, str, str] = USUAL_ACTIVATIONS,
    clips_cell: bool = False,
    **attributes: Any,
) -> TrapGraph:
    weights = _weights(dtype)
    if activations != USUAL_ACTIVATIONS:
        attributes["activations"] = list(activations)
    lstm = helper.make_node(
        "LSTM", ["x", "W", "R", "B"], ["Y", "Y_h", "Y_c"], name="lstm", hidden_size=HIDDEN_SIZE, **attributes
    )
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    sequence: list[int | str] = ["B", "T"] if batch_first else ["T", "B"]
    state: list[int | str] = [1, "B", HIDDEN_SIZE]
    graph = helper.make_graph(
        [lstm, *_named_outputs()],
        "trap",
        [helper.make_tensor_value_info("x", kind, [*sequence, INPUT_SIZE])],
        [
            helper.make_tensor_value_info("output", kind, [*sequence, HIDDEN_SIZE]),
            *(helper.make_tensor_value_info(name, kind, state) for name in ("hn", "cn")),
        ],
        [
            *(numpy_helper.from_array(value, name) for name, value in weights.items()),
            helper.make_tensor("sequence", TensorProto.INT64, [3], [0, -1, HIDDEN_SIZE]),
            helper.make_tensor("state", TensorProto.INT64, [3], [1, -1, HIDDEN_SIZE]),
        ],
    )

    def expected(x: Array) -> dict[str, Array]:
        values = {name: value.astype(np.float64)[0] for name, value in weights.items()}
        cell = Cell(activations=activations, clip=attributes.get("clip", np.inf), clips_cell=clips_cell)
        outputs = cell.run(x.swapaxes(0, 1) if batch_first else x, values)
        return outputs | {"output": outputs["output"].swapaxes(0, 1)} if batch_first else outputs

    return TrapGraph(
        model=helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        contract=_contract(batch_first),
        expected=expected,
    )


def _named_outputs() -> list[NodeProto]:
    """The node's outputs in the contract's shapes, by reshapes that are right for either order of time and batch."""
    renames = (("Y", "output", "sequence"), ("Y_h", "hn", "state"), ("Y_c", "cn", "state"))
    return [helper.make_node("Reshape", [own, dims], [name]) for own, name, dims in renames]


def _weights(dtype: type[np.floating[Any]]) -> dict[str, Array]:
    chance = np.random.default_rng(SEED)
    rows = 4 * HIDDEN_SIZE
    shapes = {"W": (1, rows, INPUT_SIZE), "R": (1, rows, HIDDEN_SIZE), "B": (1, 2 * rows)}
    return {name: (0.5 * chance.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def _contract(batch_first: bool) -> Contract:
    return contract_of(
        form="encoder",
        cell="lstm",
        input_size=INPUT_SIZE,
        hidden_size=HIDDEN_SIZE,
        projection_size=HIDDEN_SIZE,
        layers=1,
        directions=1,
        steps=None,
        batch_first=batch_first,
        state_inputs=False,
        lengths=False,
        precision="float32",
        formulation="foreign",
        source=Source(file="trap.onnx", module="", weights_sha256=""),
    )
