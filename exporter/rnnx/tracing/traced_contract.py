"""The contract that a trace gives, but for what only the written graph can show."""

import functools
from collections.abc import Sequence
from importlib.metadata import version

from torch import Tensor

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.layer_weights import PRECISION
from rnnx.tracing.loops.markers import loop_nodes
from rnnx.tracing.operators.table_lookups import table_sizes
from rnnx.tracing.recurrence_nodes import RecurrenceNode
from rnnx.tracing.sizes.dims import (
    DimNames,
    input_shapes,
    name_dims,
    output_values,
    refuse_unsolved_dims,
)
from rnnx.tracing.sizes.output_dims import OutputDims
from rnnx.tracing.states.blended_states import blended_pairs
from rnnx.tracing.states.data_paths import lengths_inputs, state_pairs
from rnnx.tracing.states.named_states import joined_states, named_states
from rnnx.tracing.subject import Subject
from rnnx.tracing.tracing import Trace
from rnnx.tracing.weights_digest import weights_sha256
from rnnx_runtime.contract import Contract, Source, Streaming, TensorSpec


def traced_contract(
    subject: Subject, trace: Trace, recurrences: Sequence[RecurrenceNode], options: ModelOptions, opset: int
) -> tuple[Contract, DimNames]:
    """The contract without its layers and proofs, and the names of its dims.

    Raises:
        UntracedError: an input whose dims say no size of their symbols.
        OptionError: `options.states` names what is no state.
    """
    shapes = input_shapes(trace.program, list(subject.tensors))
    loops = list(loop_nodes(trace.program.graph))
    names = name_dims(trace.program, shapes, [*recurrences, *loops], options)
    # A table of lengths, such as the words of each sentence, is flattened by the model: no row is one sequence's.
    found = [name for name in lengths_inputs(trace.program, list(shapes), recurrences) if len(shapes[name]) == 1]
    inputs = tuple(
        TensorSpec(name=name, dtype=_dtype_name(subject.tensors[name]), dims=names.dims(shape))
        for name, shape in shapes.items()
    )
    dims = OutputDims(names)
    outputs = tuple(
        TensorSpec(name=name, dtype=_dtype_name(value), dims=dims.of(value.shape))
        for name, value in zip(trace.outputs, output_values(trace.program), strict=True)
    )
    named = named_states(options.states, inputs, outputs)
    through_layers = state_pairs(trace.program, list(shapes), trace.outputs, [*recurrences, *loops])
    guessed = () if named or recurrences or loops else blended_pairs(trace.program, list(shapes), trace.outputs)
    states = joined_states(subject.lifted.pairs, named, through_layers, guessed)
    lengths = [name for name in found if name not in {pair.input for pair in states}]  # a count that is carried is none
    contract = Contract(
        inputs=inputs,
        outputs=outputs,
        states=states,
        lengths=tuple(dict.fromkeys((*lengths, *options.lengths))),
        recurrent=(),
        table_sizes=table_sizes(trace.program, list(shapes)),
        streaming=Streaming(kind="no", reason="not proved yet"),
        precision=PRECISION,
        source=Source(file=type(subject.module).__name__, module="", weights_sha256=weights_sha256(subject.module)),
        versions={**_package_versions(), "opset": str(opset)},
    )
    refuse_unsolved_dims(contract)
    return subject.complete(contract), names


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


@functools.cache
def _package_versions() -> dict[str, str]:
    return {package: version(package) for package in ("rnnx", "torch", "onnx", "onnxscript", "spox")}
