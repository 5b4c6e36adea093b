"""A whole model as an exported program, its recurrent layers opaque and every axis of its inputs free that can be."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx.experimental._config as fx_config
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from rnnx.errors import ExportError
from rnnx.modules.source_lines import model_line_of
from rnnx.tracing.dims import output_values
from rnnx.tracing.host_values import host_values
from rnnx.tracing.layer_states import LiftedState
from rnnx.tracing.opaque_layers import OpaqueLayers, opaque
from rnnx.tracing.packing import traced_packing
from rnnx.tracing.precision_scopes import without_autocast
from rnnx.tracing.random_numbers import refuse_random_numbers
from rnnx.tracing.signature import CallSignature, named_outputs
from rnnx.tracing.sized_tensors import sized_tensors
from rnnx.tracing.specializations import Specialization, recorded_specializations
from rnnx_runtime.errors import RnnxError

_LOGGERS = ("torch", "torch.onnx", "torch.export", "torch._export", "torch.fx", "onnxscript", "onnx_ir")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A traced model: the program, its output names, how often each layer was called, what was fixed, and notes."""

    program: ExportedProgram
    outputs: tuple[str, ...]
    calls: dict[str, int]
    specializations: tuple[Specialization, ...]
    notes: tuple[str, ...]


class TracedModel(nn.Module):
    """A module of one tuple of tensors and flat results around the model.

    PyTorch 2.9 names the tensors of a `*tensors` parameter in two ways and then fails to check their sizes.
    """

    def __init__(self, model: nn.Module, run_model: Callable[[Sequence[Tensor]], tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.model = model
        self._run_model = run_model

    def forward(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The model's results and then its lifted states."""
        return self._run_model(tensors)


def trace_model(
    module: nn.Module,
    signature: CallSignature,
    tensors: Sequence[Tensor],
    free: Sequence[Sequence[bool]],
    *,
    output_names: Sequence[str] | None,
    lifted: tuple[LiftedState, ...],
    assigned: Sequence[str] = (),
) -> Trace:
    """Trace `module` for the example's `tensors` and then the lifted states; `free` says which axes may vary.

    `assigned` names the attributes that a call of the model sets to other tensors.

    Raises:
        ExportError: control flow that depends on data, state kept in the module, or what torch.export refuses.
    """
    layers, names = OpaqueLayers(module, lifted), list[str]()
    count = len(signature.names)

    def run_model(values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        layers.calls.clear()
        layers.given = _by_layer(lifted, values[count:])
        results = named_outputs(signature.call(module, values[:count]), output_names)
        names[:] = [*results, *(pair.output for state in lifted for pair in state.pairs)]
        return (*results.values(), *(value for state in lifted for value in layers.last[state.layer]))

    def trace(*, cut: bool) -> Trace:
        with (
            quiet_torch(),
            contextlib.redirect_stderr(io.StringIO()),  # where torch.export prints the graph of a failed trace
            opaque(layers),
            traced_packing(cut=cut) as packing,
            sized_tensors(module),
            host_values(module),
            without_autocast() as left_out,
            recorded_specializations() as fixed,
        ):
            try:
                program = _exported(TracedModel(module, run_model), tensors, free)
            except RnnxError:
                raise
            except Exception as error:
                if cut and packing.cuts and _depends_on_values(error):
                    raise _BranchOnLongest from error
                raise _refusal(module, error) from error
        return Trace(
            program=program,
            outputs=tuple(names),
            calls=dict(layers.calls),
            specializations=tuple(fixed),
            notes=tuple(dict.fromkeys((*packing.notes, *left_out))),
        )

    try:
        found = trace(cut=True)
    except _BranchOnLongest as stopped:
        # `if out.size(1) < T:` pads a result back: one that keeps its time needs none. The export's values decide.
        try:
            found = trace(cut=False)
        except ExportError:
            raise _refusal(module, stopped.__cause__ or stopped) from stopped.__cause__
    _refuse_kept_state(module, found.program, assigned)
    refuse_random_numbers(found.program, type(module).__name__)
    return found


def refuse_half_results(trace: Trace) -> None:
    """Refuse a result in half precision, which a graph in float32 does not have.

    Raises:
        ExportError: names the result.
    """
    for name, value in zip(trace.outputs, output_values(trace.program), strict=True):
        if value.dtype in (torch.float16, torch.bfloat16):
            raise ExportError(
                f"output {name!r}",
                got=str(value.dtype).removeprefix("torch."),
                expected="float32, in which rnnx exports",
                remedy="leave .half(), .bfloat16() and .to(...) of them out of forward",
            )


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """No warnings and no logs of torch and onnxscript inside the block: they speak of their own insides."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _exported(model: TracedModel, tensors: Sequence[Tensor], free: Sequence[Sequence[bool]]) -> ExportedProgram:
    shapes = tuple(tuple(Dim.AUTO if own else Dim.STATIC for own in axes) for axes in free)

    def export(*, any_size: bool) -> ExportedProgram:
        with torch.no_grad(), fx_config.patch(backed_size_oblivious=any_size):  # type: ignore[attr-defined]
            return torch.export.export(model.eval(), (tuple(tensors),), dynamic_shapes=(shapes,), strict=False)

    if not any(size == 1 for tensor in tensors for size in tensor.shape):
        return export(any_size=False)
    try:
        return export(any_size=True)  # a size of one in the example is no promise that it stays one
    except RuntimeError as error:
        if "must match the size" not in str(error):
            raise
        return export(any_size=False)  # but where an axis is broadcast it must


class _BranchOnLongest(Exception):  # noqa: N818 - another trace, not a fault
    """Control flow that depends on where a packed sequence was cut, as its `__cause__` says."""


def _depends_on_values(error: BaseException) -> bool:
    return isinstance(error, GuardOnDataDependentSymNode) or "data-dependent" in str(error)


def _by_layer(lifted: tuple[LiftedState, ...], values: Sequence[Tensor]) -> dict[str, tuple[Tensor, ...]]:
    found, place = {}, 0
    for state in lifted:
        found[state.layer] = tuple(values[place : place + len(state.pairs)])
        place += len(state.pairs)
    return found


def _refusal(module: nn.Module, error: BaseException) -> ExportError:
    line, subject = model_line_of(error), type(module).__name__
    if _depends_on_values(error):
        return ExportError(
            f"{subject}, {line}",
            got="control flow or a size that depends on the values of a tensor",
            expected="the same operations for all values",
            remedy="choose between tensors with torch.where or a mask, and keep lengths a tensor "
            "(no if, .item(), .tolist(), int() or bool() of it)",
        )
    return ExportError(
        f"{subject}, {line}",
        got=_first_line(error),
        expected="a model that torch.export can trace",
        remedy="write this line with tensor operations alone, or leave it out of forward",
    )


def _refuse_kept_state(module: nn.Module, program: ExportedProgram, assigned: Sequence[str]) -> None:
    """Refuse a buffer that is written in place, and an attribute that is read and then assigned anew."""
    signature = program.graph_signature
    written = [signature.inputs_to_buffers.get(name, "") for name in _written_in_place(program)]
    read = signature.inputs_to_lifted_tensor_constants.values()
    kept = [*filter(None, written), *(name for name in read if name.removeprefix("model.") in assigned)]
    if kept:
        raise kept_state(type(module).__name__, kept[0].removeprefix("model."))


def _written_in_place(program: ExportedProgram) -> Iterator[str]:
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for argument, value in zip(schema.arguments, node.args, strict=False) if schema is not None else ():
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, Node):
                yield value.name


def kept_state(subject: str, name: str) -> ExportError:
    """The refusal of a model that carries something from one call to the next in itself."""
    return ExportError(
        f"{subject}.{name}",
        got="a tensor that forward changes and reads in the next call",
        expected="state as a value",
        remedy="take it as an argument of forward and return the new one, or leave it to stateful=True "
        "where it is a recurrent layer's own",
    )


def _first_line(error: BaseException) -> str:
    text: Any = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"[:300]
