"""The module that a whole model was exported from, at hand again: its truth on any inputs, and its rows of a report."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rnnx.errors import CheckpointError, ExportError, FactoryError, OptionError
from rnnx.modules.given_module import GivenModule, read_given_module
from rnnx.modules.model_code import model_code
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.contract_call import calls_of_contract, example_of_contract
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.eager_candidate import EagerCandidate
from rnnx.tracing.example_run import ExampleRun, run_example
from rnnx.tracing.preparation import as_float32, fixed_weights, preserved, unwrapped
from rnnx.tracing.signature import CallSignature
from rnnx.tracing.stateful_trace import stateful_trace
from rnnx.tracing.states.lifted_states import LiftedStates, lifted_states, nothing_to_lift, repeated_layers
from rnnx.tracing.streams.streamed_subject import streamed_subject
from rnnx.tracing.streams.streamed_trace import stream_names
from rnnx.tracing.subject import Subject
from rnnx.tracing.turns import own_turn
from rnnx.tracing.weights_digest import weights_sha256
from rnnx.truths.comparable import comparable
from rnnx.truths.torch_reference import torch_threads
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, Streaming, TensorSpec
from rnnx_runtime.errors import RnnxError

SAME = 1e-9
"""How far float64 of two hosts may lie apart, as a share of the largest value, where float32 has no error at all."""


@dataclass(frozen=True, kw_only=True)
class LiveModel:
    """A module in float32 on the CPU, and how its contract calls it; `title` names it and its checkpoint."""

    title: str
    module: nn.Module
    signature: CallSignature
    results: tuple[str, ...]
    lifted: LiftedStates
    contract: Contract
    example: Mapping[str, Array]

    def eager(self) -> EagerModel:
        """The truth: the module by the contract's names."""
        return EagerModel(self.module, self.signature, output_names=self.results, lifted=self.lifted)

    def candidate(self, row: str) -> EagerCandidate:
        """The row `pytorch-cpu` or `pytorch-cuda`.

        Raises:
            BackendUnavailable: there is no GPU, or the module does not run on one.
        """
        return EagerCandidate(
            self.module,
            self.signature,
            self.contract,
            results=self.results,
            lifted=self.lifted,
            example=self.example,
            device="cuda" if row == "pytorch-cuda" else "cpu",
        )


@contextmanager
def read_model(
    model: str | nn.Module, checkpoint: Path | None, contract: Contract, golden: CaseTruth | None, threads: int
) -> Iterator[LiveModel]:
    """The module that `model` is or makes, the checkpoint loaded into it; PyTorch has so many threads inside the block.

    Raises what `opened_model` and `read_given_module` raise; what a factory's module raises is a FactoryError.
    """
    with model_code(model) if isinstance(model, str) else nullcontext():  # a live one's errors are its owner's to see
        given = read_given_module(model, checkpoint, lambda own: has_weights_of(own, contract))
        with torch_threads(threads), opened_model(given, contract, golden) as live:
            yield live


@contextmanager
def opened_model(given: GivenModule, contract: Contract, golden: CaseTruth | None) -> Iterator[LiveModel]:
    """The module a contract was exported from; attributes that its calls set are as they were after the block.

    Args:
        given: the module and where it came from.
        contract: the exported model's.
        golden: the golden file's case of the example, which the module must give too, unless the contract was made of
            another exporter's file; without it, the example is the one that the module or its factory brings.

    Raises:
        CheckpointError: the checkpoint's weights are others than the model's.
        FactoryError: the module's weights are, it does not take the contract's inputs, computes something else, or
            brings no example where there is no golden file.
        ExportError: the module is in training mode, scripted, or quantized.
    """
    module, _ = as_float32(unwrapped(given.module))
    is_own = contract.truth != "onnxruntime-float32"  # else the file's weights are in an order of another exporter's
    if is_own:
        _check_weights(given, module, contract)
    with preserved(module):
        example = golden.case.feeds if golden else example_of_contract(module, given.example_inputs, contract)
        call = _streamed if contract.streaming.caches else _called
        live = call(given, module, contract, example)
        if golden and is_own:
            _check_example(given, live, golden)
        yield live


def has_weights_of(module: nn.Module, contract: Contract) -> bool:
    """Whether a module has the weights that a contract's model was exported with."""
    return weights_sha256(as_float32(unwrapped(module))[0]) == contract.source.weights_sha256


def _called(given: GivenModule, module: nn.Module, contract: Contract, example: Mapping[str, Array]) -> LiveModel:
    """The module called as the contract says, in the first way in which it gives the contract's outputs and states."""
    problem: FactoryError | None = None
    for signature, tensors in calls_of_contract(module, given.example_inputs, contract, example):
        try:
            return _called_so(given, module, contract, example, signature, tensors)
        except FactoryError as error:
            problem = problem or error
    raise problem or AssertionError("a contract without a way to call it is refused before")


def _streamed(given: GivenModule, module: nn.Module, contract: Contract, example: Mapping[str, Array]) -> LiveModel:
    """The module as one that takes chunks, as it was exported: found again in a trace of the module itself."""
    live = _called(given, module, without_caches(contract), example)
    tensors = {name: torch.from_numpy(example[name].copy()) for name in live.signature.names}
    run = run_example(module, live.signature, list(tensors.values()), live.results)
    subject = _subject_of(module, live.signature, tensors, live.results, run).with_lifted(live.lifted)
    free = _free_axes(subject, contract)
    options = ModelOptions(stateful=True, deterministic=True)
    own = {pair.input: pair.output for pair in contract.states if pair.input in live.signature.names}
    with own_turn(), fixed_weights(module):
        found = stateful_trace(subject, options, free)
        stream = streamed_subject(found[0], found[1], stream_names(found, options), own)
    if stream is None or {own.name for own in stream.program.specs} != {*contract.streaming.caches}:
        raise _other_model(given, contract, "a module that carries other frames")
    return replace(
        live,
        module=stream.subject.module,
        signature=stream.subject.signature,
        results=stream.subject.outputs,
        lifted=LiftedStates(),
        contract=contract,
        example=example,
    )


def _called_so(
    given: GivenModule,
    module: nn.Module,
    contract: Contract,
    example: Mapping[str, Array],
    signature: CallSignature,
    tensors: Mapping[str, Tensor],
) -> LiveModel:
    pairs = [pair for pair in contract.states if pair.input not in tensors]
    last = {pair.output for pair in pairs}
    results = tuple(spec.name for spec in contract.outputs if spec.name not in last)
    try:
        run = run_example(module, signature, list(tensors.values()), results)
        lifted = LiftedStates()
        if pairs:
            lifted = _lifted(module, signature, tensors, results, run, contract)
    except (ExportError, OptionError) as error:
        got = f"{error.subject}: {error.got}"
        if error.subject == "output_names":
            got = f"other results than {', '.join(results)}: {error.remedy.partition(':')[0]}"
        raise _other_model(given, contract, got) from error
    found = [pair.input for pair in lifted.pairs]
    if {*found} != {pair.input for pair in pairs}:
        listed = ", ".join(pair.input for pair in pairs)
        raise _other_model(given, contract, f"states {', '.join(found)} for {listed}")
    title = f"module {given.source}" + (f" with {given.checkpoint.name}" if given.checkpoint else "")
    return LiveModel(
        title=title,
        module=module,
        signature=signature,
        results=results,
        lifted=lifted,
        contract=contract,
        example=example,
    )


def without_caches(contract: Contract) -> Contract:
    """The contract of the model itself, which carries no frames."""
    caches = {*contract.streaming.caches}
    pairs = [pair for pair in contract.states if pair.input in caches]
    outputs = {pair.output for pair in pairs}
    return replace(
        contract,
        inputs=tuple(spec for spec in contract.inputs if spec.name not in caches),
        outputs=tuple(spec for spec in contract.outputs if spec.name not in outputs),
        states=tuple(pair for pair in contract.states if pair not in pairs),
        streaming=Streaming(kind="no"),
    )


def _lifted(
    module: nn.Module,
    signature: CallSignature,
    tensors: Mapping[str, Tensor],
    results: tuple[str, ...],
    run: ExampleRun,
    contract: Contract,
) -> LiftedStates:
    """The lifted states of a module that is called as at the export; what its loops carry takes another trace."""
    lifted = lifted_states(module, run, {*signature.names, *results})
    wanted = {pair.input for pair in contract.states} - {*tensors}
    if {pair.input for pair in lifted.pairs} == wanted and not repeated_layers(run):
        return lifted
    subject = _subject_of(module, signature, tensors, results, run).with_lifted(lifted)
    free = _free_axes(subject, contract)
    try:
        with own_turn(), fixed_weights(module):
            return stateful_trace(subject, ModelOptions(stateful=True, deterministic=True), free)[0].lifted
    except ExportError:
        if not lifted.pairs:
            raise nothing_to_lift(run, loops=False) from None
        return lifted


def _subject_of(
    module: nn.Module,
    signature: CallSignature,
    tensors: Mapping[str, Tensor],
    results: tuple[str, ...],
    run: ExampleRun,
) -> Subject:
    """The module as its export saw it, but for its states."""
    return Subject(
        module=module,
        signature=signature,
        tensors=tensors,
        outputs=results,
        ranks=dict(zip(results, run.ranks, strict=True)),
        run=run,
        lifted=LiftedStates(),
        notes=(),
    )


def _free_axes(subject: Subject, contract: Contract) -> tuple[tuple[bool, ...], ...]:
    """Which axes the contract leaves free, all of an input that it does not have."""
    dims = {spec.name: spec.dims for spec in contract.inputs}
    return tuple(
        tuple(not isinstance(dim, int) for dim in dims[name]) if name in dims else (True,) * tensor.dim()
        for name, tensor in subject.tensors.items()
    )


def _check_weights(given: GivenModule, module: nn.Module, contract: Contract) -> None:
    wanted, got = contract.source.weights_sha256, weights_sha256(module)
    if got == wanted:
        return
    kind: type[RnnxError] = FactoryError
    subject = f"model {given.source}"
    remedy = "give the trained weights, as the checkpoint of a factory, or export again"
    if given.checkpoint is not None:
        kind, subject = CheckpointError, f"checkpoint {given.checkpoint.name} in {given.source}"
        remedy = "give the checkpoint this model was exported from, or export again"
    raise kind(
        subject,
        got=f"weights with sha256 {got[:12]}…",
        expected=f"{wanted[:12]}…, the weights that the model was exported from",
        remedy=remedy,
    )


def _check_example(given: GivenModule, live: LiveModel, golden: CaseTruth) -> None:
    """Refuse a module whose code is another than at the export: every row would fail of it, the truth being wrong."""
    values = live.eager().outputs(golden.case.feeds, torch.float64)
    for name, truth in golden.truth.items():
        problem = _difference(values[name], truth, golden.float32_error[name])
        if problem:
            raise _other_model(given, live.contract, f"output {name} of the example {problem}")


def _difference(value: Array, truth: Array, float32_error: float) -> str:
    if value.shape != truth.shape:
        return f"of shape {value.shape}, in the golden file {truth.shape}"
    if truth.dtype.kind != "f":
        return "" if np.array_equal(value, truth) else "with other values than in the golden file"
    expected = comparable(truth, truth)
    error = float(np.abs(comparable(value, truth) - expected).max())
    limit = max(float32_error, SAME * (1 + float(np.abs(expected).max())))
    return "" if error <= limit else f"{error:.2g} off the golden file's"


def _other_model(given: GivenModule, contract: Contract, got: str) -> FactoryError:
    if contract.truth == "float64":
        expected, remedy = "the model that was exported, called as then", "export again where its code has changed"
    else:
        signature = f"({', '.join(_shown(contract.inputs))}) → ({', '.join(_shown(contract.outputs))})"
        expected, remedy = f"the module that the file was exported from, {signature}", "give that one"
    return FactoryError(
        f"model {given.source}",
        got=got,
        expected=expected,
        remedy=f"{remedy}; where forward takes constants besides tensors, let the factory return "
        "(module, example_inputs)",
    )


def _shown(specs: Iterable[TensorSpec]) -> Iterator[str]:
    yield from (f"{spec.name} {spec.shape}" for spec in specs)
