"""A network's tree of layers as steps over values; what depends on no input is calculated on the way."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnnx.tensorrt_network.activations import compile_activation
from rnnx.tensorrt_network.arithmetic import (
    Evaluator,
    compile_cumulative,
    compile_einsum,
    compile_elementwise,
    compile_matrix_multiply,
    compile_normalization,
    compile_parametric_relu,
    compile_reduce,
    compile_scale,
    compile_softmax,
    compile_unary,
)
from rnnx.tensorrt_network.conversions import compile_cast, compile_dequantize, compile_fill, compile_quantize
from rnnx.tensorrt_network.indexing import (
    compile_gather,
    compile_non_zero,
    compile_one_hot,
    compile_scatter,
    compile_select,
    compile_top_k,
)
from rnnx.tensorrt_network.layers import Layer, Tensor
from rnnx.tensorrt_network.loops import compile_loop
from rnnx.tensorrt_network.resizing import compile_resize
from rnnx.tensorrt_network.shaping import (
    compile_concatenation,
    compile_constant,
    compile_reverse_sequence,
    compile_shape,
    compile_shuffle,
    compile_squeeze,
    compile_unsqueeze,
)
from rnnx.tensorrt_network.slicing import compile_slice
from rnnx.tensorrt_network.steps import NOTHING, Step, Values, run_steps, step_from_evaluator
from rnnx.tensorrt_network.structure import Conditional, Loop, Node
from rnnx.tensorrt_network.windows import compile_convolution, compile_deconvolution, compile_pooling


def _compile_assertion(layer: Layer) -> Evaluator:
    message = layer.native.message

    def check(holds: Any) -> tuple[()]:
        if not np.all(holds):
            raise ValueError(f"a false assertion: {message}")
        return ()

    return check


_ARITHMETIC: dict[str, Callable[[Layer], Evaluator]] = {
    "ACTIVATION": compile_activation,
    "CONVOLUTION": compile_convolution,
    "CUMULATIVE": compile_cumulative,
    "DECONVOLUTION": compile_deconvolution,
    "EINSUM": compile_einsum,
    "ELEMENTWISE": compile_elementwise,
    "MATRIX_MULTIPLY": compile_matrix_multiply,
    "NORMALIZATION": compile_normalization,
    "PARAMETRIC_RELU": compile_parametric_relu,
    "POOLING": compile_pooling,
    "REDUCE": compile_reduce,
    "RESIZE": compile_resize,
    "SCALE": compile_scale,
    "SOFTMAX": compile_softmax,
    "UNARY": compile_unary,
}
"""Layers that round what they calculate."""

_LAYERS: dict[str, Callable[[Layer], Evaluator]] = {
    **_ARITHMETIC,
    "ASSERTION": _compile_assertion,
    "CAST": compile_cast,
    "CONCATENATION": compile_concatenation,
    "CONDITIONAL_INPUT": compile_cast,
    "CONSTANT": compile_constant,
    "DEQUANTIZE": compile_dequantize,
    "FILL": compile_fill,
    "GATHER": compile_gather,
    "IDENTITY": compile_cast,
    "NON_ZERO": compile_non_zero,
    "ONE_HOT": compile_one_hot,
    "QUANTIZE": compile_quantize,
    "REVERSE_SEQUENCE": compile_reverse_sequence,
    "SCATTER": compile_scatter,
    "SELECT": compile_select,
    "SHAPE": compile_shape,
    "SHUFFLE": compile_shuffle,
    "SLICE": compile_slice,
    "SQUEEZE": compile_squeeze,
    "TOPK": compile_top_k,
    "UNSQUEEZE": compile_unsqueeze,
}
"""Every layer type that is evaluated; loops and conditionals are not among them, for they are more than a layer."""

_HALVES = ("HALF", "BF16")


class Compilation:
    """The places of all tensors, and the values that are known before a network runs."""

    def __init__(self) -> None:
        self.values: Values = [None]
        self._places: dict[str, int] = {}

    def place(self, tensor: Tensor | None) -> int:
        """The place of a tensor among the values; of an input that was left out, the one that holds None."""
        return NOTHING if tensor is None else self.place_of(tensor.name)

    def place_of(self, name: str) -> int:
        """The place of a tensor by its name."""
        if name not in self._places:
            self._places[name] = len(self.values)
            self.values.append(None)
        return self._places[name]

    def steps(self, nodes: Sequence[Node]) -> tuple[Step, ...]:
        """The steps of nodes in order, without those whose results are known now.

        Raises:
            BackendUnavailable: a layer is of a type, or has a mode, that is not evaluated; names it.
        """
        return tuple(step for node in nodes if (step := self._step(node)) is not None)

    def _step(self, node: Node) -> Step | None:
        if isinstance(node, Layer):
            return self._layer_step(node)
        reads, writes = (tuple(map(self.place_of, sorted(names))) for names in (node.reads, node.writes))
        if isinstance(node, Loop):
            run = compile_loop(node, self.place, self.steps(node.body))
            return Step(subject=node.subject, reads=reads, writes=writes, run=run)
        return Step(subject=node.outputs[0].subject, reads=reads, writes=writes, run=self._conditional(node))

    def _layer_step(self, layer: Layer) -> Step | None:
        reads, writes = tuple(map(self.place, layer.inputs)), tuple(map(self.place, layer.outputs))
        known = replace(layer, constants=tuple(self.values[place] for place in reads))
        step = step_from_evaluator(layer.subject, compile_layer(known), reads, writes)
        if writes and all(self.values[place] is not None for place in reads if place != NOTHING):
            run_steps([step], self.values)
            return None
        return step

    def _conditional(self, node: Conditional) -> Callable[[Values], None]:
        condition = self.place(node.outputs[0].inputs[0])
        branches = tuple(self.steps(branch) for branch in node.branches)
        chosen = tuple(
            tuple((self.place(layer.inputs[which]), self.place(layer.outputs[0])) for layer in node.outputs)
            for which in (1, 2)
        )

        def choose(values: Values) -> None:
            which = 0 if values[condition] else 1
            run_steps(branches[which], values)
            for source, target in chosen[which]:
                values[target] = values[source]

        return choose


def compile_layer(layer: Layer) -> Evaluator:
    """The evaluator of one layer.

    Raises:
        BackendUnavailable: its type is not evaluated; says which are.
    """
    if layer.kind not in _LAYERS:
        raise layer.unsupported(f"a layer of type {layer.kind}")
    evaluator = _LAYERS[layer.kind](layer)
    return _in_single(layer, evaluator) if layer.kind in _ARITHMETIC and _is_half(layer) else evaluator


def _is_half(layer: Layer) -> bool:
    return any(tensor is not None and tensor.type in _HALVES for tensor in layer.inputs)


def _in_single(layer: Layer, evaluator: Evaluator) -> Evaluator:
    """Calculated in float32 and rounded once, as a GPU's tensor cores do with products of half-precision numbers."""
    dtype, half = (
        layer.dtype,
        {tensor.dtype for tensor in layer.inputs if tensor is not None and tensor.type in _HALVES},
    )

    def evaluate(*inputs: Any) -> Any:
        single = [value.astype(np.float32) if value.dtype in half else value for value in inputs]
        return evaluator(*single).astype(dtype)

    return evaluate
