"""The graph of a decoder's step, taken apart: what depends on the token or the state, and what does not."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from onnx import ModelProto, NodeProto, TensorProto, inliner

from rnnx.decoders.node_copies import values_read
from rnnx.errors import ExportError
from rnnx_runtime.contract import Contract, StatePair, TensorSpec


@dataclass(frozen=True, kw_only=True)
class StepGraph:
    """One step from `(token, state, context)` to `(logits, state)` as nodes in order.

    `once` is what depends on neither token nor state, such as keys of an attention over the context, and need run only
    once for all steps; `each` is the rest.
    """

    token: TensorSpec
    logits: TensorSpec
    states: tuple[StatePair, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    context: tuple[TensorSpec, ...]
    weights: tuple[TensorProto, ...]
    once: tuple[NodeProto, ...]
    each: tuple[NodeProto, ...]

    @cached_property
    def state_inputs(self) -> tuple[TensorSpec, ...]:
        """The states as they come in."""
        return tuple(spec for pair in self.states for spec in self.inputs if spec.name == pair.input)

    @cached_property
    def state_outputs(self) -> tuple[TensorSpec, ...]:
        """The states as they go out, in the same order."""
        return tuple(spec for pair in self.states for spec in self.outputs if spec.name == pair.output)

    def batch_axis(self, spec: TensorSpec) -> int:
        """The axis of a tensor that is the batch.

        Raises:
            ExportError: none is.
        """
        size = self.token.dims[0]
        if isinstance(size, int) and spec.dims[-2:-1] == (size,):  # static: L may be as large, and H too
            return len(spec.dims) - 2
        if size not in spec.dims:
            raise ExportError(
                f"{spec.name!r} of the decoder",
                got=f"{spec.shape}, in which no axis is the batch {size}",
                expected="a row for each token",
                remedy="give every state an axis of the batch's size",
            )
        return spec.dims.index(size)


def read_step(model: ModelProto, contract: Contract) -> StepGraph:
    """Take a decoder's step apart; its contract says which inputs are what."""
    part = contract.decoder
    if part is None or part.form != "step":
        raise AssertionError("the model of a decoder's step says that it is one")
    if model.functions:
        model = inliner.inline_local_functions(model)
    specs = {spec.name: spec for spec in (*contract.inputs, *contract.outputs)}
    varying = {part.token or "", *(pair.input for pair in contract.states)}
    once, each = _parted(model.graph.node, varying, {spec.name for spec in contract.outputs})
    return StepGraph(
        token=specs[part.token or ""],
        logits=specs[part.logits or ""],
        states=contract.states,
        inputs=contract.inputs,
        outputs=contract.outputs,
        context=tuple(specs[name] for name in part.context),
        weights=tuple(model.graph.initializer),
        once=once,
        each=each,
    )


def _parted(
    nodes: Iterable[NodeProto], varying: set[str], outputs: set[str]
) -> tuple[tuple[NodeProto, ...], tuple[NodeProto, ...]]:
    """What runs once, and what in each step; an output is each step's own, for the whole graph's is called so too."""
    once, each = [], []
    for node in nodes:
        if values_read(node) & varying or outputs.intersection(node.output):
            each.append(node)
            varying |= set(node.output) - {""}
        else:
            once.append(node)
    return tuple(once), tuple(each)


def check_states(contract: Contract, states: Iterable[StatePair]) -> None:
    """Refuse a step whose state comes out in another dtype or shape than it goes in; raises ExportError."""
    specs = {spec.name: spec for spec in (*contract.inputs, *contract.outputs)}
    for pair in states:
        first, last = specs[pair.input], specs[pair.output]
        if (first.dtype, first.dims) != (last.dtype, last.dims):
            raise ExportError(
                f"state {first.name!r} of the decoder",
                got=f"{last.dtype} {last.shape} from a step",
                expected=f"{first.dtype} {first.shape}, as it goes in",
                remedy="return the new state in the shape and order of the old",
            )
