"""A whole model as an exported program, its recurrent layers opaque and every axis of its inputs free that can be."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
import torch.fx.experimental._config as fx_config
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.export import Dim, ExportedProgram
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from rnnx.errors import ExportError, UntracedError
from rnnx.modules.source_lines import model_line_of
from rnnx.tracing.constant_inputs import constant_values
from rnnx.tracing.host_values import host_values
from rnnx.tracing.opaque_layers import OpaqueLayers, opaque
from rnnx.tracing.operators.float_dtypes import reading_floats
from rnnx.tracing.operators.pooling import PoolingOperators, traced_pooling
from rnnx.tracing.operators.precision_scopes import without_autocast
from rnnx.tracing.operators.random_numbers import MeansOfRandomNumbers, refuse_random_numbers
from rnnx.tracing.operators.scripted_code import python_functions
from rnnx.tracing.packing import traced_packing
from rnnx.tracing.signature import CallSignature, named_outputs
from rnnx.tracing.sizes.clamped_slices import ClampedSlices
from rnnx.tracing.sizes.dims import expression_of, output_values
from rnnx.tracing.sizes.even_chunks import even_chunks
from rnnx.tracing.sizes.exact_sizes import exact_sizes
from rnnx.tracing.sizes.flat_reshapes import flat_reshapes
from rnnx.tracing.sizes.guards import SizeGuard, recorded_guards
from rnnx.tracing.sizes.sized_functions import sized_functions
from rnnx.tracing.sizes.sized_tensors import sized_tensors
from rnnx.tracing.sizes.specializations import Specialization, recorded_specializations
from rnnx.tracing.states.kept_states import kept_state
from rnnx.tracing.states.kept_tensors import kept_tensors, placed_tensors
from rnnx.tracing.states.lifted_states import LiftedStates, StateHandover
from rnnx_runtime.errors import RnnxError

_LOGGERS = ("torch", "torch.onnx", "torch.export", "torch._export", "torch.fx", "onnxscript", "onnx_ir")

_SYMBOL = re.compile(r"\b[su]\d+\b")
"""torch.export's name of a free size."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A traced model: its program, names of outputs, counts of layers' calls, fixed axes, guards, and notes.

    `cells` are those that the model writes by hand and the program calls as layers, in float64 by the layer's name.
    `rolled` are the numbers of steps of rolled loops, as expressions.
    """

    program: ExportedProgram
    outputs: tuple[str, ...]
    calls: dict[str, int]
    specializations: tuple[Specialization, ...]
    guards: tuple[SizeGuard, ...]
    notes: tuple[str, ...]
    cells: Mapping[str, nn.Module] = field(default_factory=dict)
    rolled: tuple[Any, ...] = ()


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


class _Run:
    """A call of a model inside a trace: its layers opaque, its lifted states given before and taken afterwards.

    `results` are the names of what it gave, and `words` how to say torch.export's names of free axes.
    """

    def __init__(
        self,
        module: nn.Module,
        signature: CallSignature,
        output_names: Sequence[str] | None,
        lifted: LiftedStates,
        layers: OpaqueLayers,
        modes: Sequence[contextlib.AbstractContextManager[Any]],
    ) -> None:
        self._module, self._signature, self._output_names = module, signature, output_names
        self._lifted, self._layers, self._modes = lifted, layers, modes
        self._states = [pair.input for pair in lifted.pairs]
        self.results: list[str] = []
        self.words: dict[str, str] = {}

    def __call__(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The results, then the lifted states, of these tensors in the inputs' order."""
        count, lifted = len(self._signature.names), self._lifted
        self.words.update(axis_words((*self._signature.names, *self._states), values))
        self._layers.calls.clear()
        given = dict(zip(self._states, values[count:], strict=True))
        handover = self._layers.states = StateHandover(lifted, lifted.given(given))
        with contextlib.ExitStack() as stack:
            for mode in (reading_floats(self._module, torch.float32), *self._modes):
                stack.enter_context(mode)
            stack.enter_context(placed_tensors(self._module, lifted.placed(given), lifted.holders))
            found = named_outputs(self._signature.call(self._module, values[:count]), self._output_names)
            last = handover.last(kept_tensors(self._module) if lifted.kept else {})
        found |= {pair.output: last[pair.output] for pair in lifted.pairs}
        self.results = list(found)
        return tuple(found.values())


def trace_model(
    module: nn.Module,
    signature: CallSignature,
    tensors: Sequence[Tensor],
    free: Sequence[Sequence[int]],
    *,
    output_names: Sequence[str] | None,
    lifted: LiftedStates,
    deterministic: bool = False,
    any_size: bool = False,
    longest: int | None = None,
) -> Trace:
    """Trace `module` for the example's `tensors` and then the lifted states; `free` says which axes may vary.

    `deterministic` takes random numbers at their mean. With `any_size` a free axis may be of size one too; else that
    follows from the example, which has such an axis or has none. No loop may be longer than `longest`.

    Raises:
        LongLoopError: a loop in Python is longer than `longest`.
        ExportError: control flow that depends on data, state kept in the module, or what torch.export refuses.
    """
    layers, means = OpaqueLayers(module), MeansOfRandomNumbers()
    modes = [PoolingOperators(), ClampedSlices(), *constant_values(signature), *([means] if deterministic else [])]
    run = _Run(module, signature, output_names, lifted, layers, modes)

    def trace(*, cut: bool) -> Trace:
        with (
            quiet_torch(),
            contextlib.redirect_stderr(io.StringIO()),  # where torch.export prints the graph of a failed trace
            opaque(layers),
            traced_packing(cut=cut) as packing,
            sized_tensors(module),
            sized_functions(),
            host_values(module),
            exact_sizes(),
            traced_pooling(),
            even_chunks(),
            flat_reshapes(),
            without_autocast() as left_out,
            python_functions(),
            mock.patch.object(Distribution, "_validate_args", False),  # which compares the values of a distribution
            recorded_specializations(longest) as fixed,
            recorded_guards() as guards,
        ):
            try:
                program = _exported(TracedModel(module, run), tensors, free, any_size=any_size)
            except RnnxError:
                raise
            except Exception as error:
                if cut and packing.cuts and _depends_on_values(error):
                    raise _BranchOnLongest from error
                raise _refusal(module, error, run.words) from error
        return Trace(
            program=program,
            outputs=tuple(run.results),
            calls=dict(layers.calls),
            specializations=tuple(fixed),
            guards=tuple(guards),
            notes=tuple(dict.fromkeys((*packing.notes, *left_out, *means.notes))),
        )

    try:
        found = trace(cut=True)
    except _BranchOnLongest as stopped:
        # `if out.size(1) < T:` pads a result back: one that keeps its time needs none. The export's values decide.
        try:
            found = trace(cut=False)
        except ExportError:
            raise _refusal(module, stopped.__cause__ or stopped, run.words) from stopped.__cause__
    _refuse_written_buffers(module, found.program)
    refuse_random_numbers(found.program, type(module).__name__, deterministic=deterministic)
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


def _exported(
    model: TracedModel, tensors: Sequence[Tensor], free: Sequence[Sequence[int]], *, any_size: bool
) -> ExportedProgram:
    shapes = tuple(tuple(map(_dim_of, axes)) for axes in free)

    def export(*, any_size: bool) -> ExportedProgram:
        with torch.no_grad(), fx_config.patch(backed_size_oblivious=any_size):  # type: ignore[attr-defined]
            return torch.export.export(model.eval(), (tuple(tensors),), dynamic_shapes=(shapes,), strict=False)

    pairs = (pair for tensor, axes in zip(tensors, free, strict=True) for pair in zip(tensor.shape, axes, strict=True))
    if not any_size and (1, 1) not in pairs:
        return export(any_size=False)
    try:
        return export(any_size=True)  # a size of one in the example is no promise that it stays one
    except RuntimeError as error:
        if "must match the size" not in str(error):
            raise
        return export(any_size=False)  # but where an axis is broadcast it must


def _dim_of(free: int) -> Any:
    """How torch.export takes an axis: as free, as fixed, or as a multiple of a number."""
    return free * Dim("frames", min=1) if free > 1 else Dim.AUTO if free else Dim.STATIC


def axis_words(names: Sequence[str], values: Sequence[Tensor]) -> Iterator[tuple[str, str]]:
    """What torch.export calls each free axis in its messages, and how to say it."""
    for name, value in zip(names, values, strict=True):
        for axis, size in enumerate(value.shape):
            yield str(expression_of(size)), f"<axis {axis} of {name}>"


class _BranchOnLongest(Exception):  # noqa: N818 - another trace, not a fault
    """Control flow that depends on where a packed sequence was cut, as its `__cause__` says."""


def _depends_on_values(error: BaseException) -> bool:
    return isinstance(error, GuardOnDataDependentSymNode) or "data-dependent" in str(error)


def _refusal(module: nn.Module, error: BaseException, words: Mapping[str, str]) -> ExportError:
    line, subject = model_line_of(error), type(module).__name__
    if _depends_on_values(error):
        return ExportError(
            f"{subject}, {line}",
            got="control flow or a size that depends on the values of a tensor",
            expected="the same operations for all values",
            remedy="choose between tensors with torch.where or a mask, and keep lengths a tensor "
            "(no if, .item(), .tolist(), int() or bool() of it); fix an input that never changes with "
            "constants={NAME: VALUE} (--constant NAME=VALUE)",
        )
    return UntracedError(
        f"{subject}, {line}",
        got=_SYMBOL.sub(lambda match: words.get(match[0], "<a free size>"), _first_line(error)),
        expected="a model that torch.export can trace",
        remedy="write this line with tensor operations alone, or leave it out of forward",
    )


def _refuse_written_buffers(module: nn.Module, program: ExportedProgram) -> None:
    """Refuse a buffer that is written in place."""
    signature = program.graph_signature
    constants = signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
    for name in _written_in_place(program):
        if constants.get(name, "").startswith("model."):
            raise kept_state(type(module).__name__, constants[name].removeprefix("model."))


def _written_in_place(program: ExportedProgram) -> Iterator[str]:
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for argument, value in zip(schema.arguments, node.args, strict=False) if schema is not None else ():
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, Node):
                yield value.name


def _first_line(error: BaseException) -> str:
    text: Any = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"[:300]
