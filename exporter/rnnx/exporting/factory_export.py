"""Exporting the model that a factory gives: its checkpoint loaded, its example made, in evaluation mode."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.errors import OptionError
from rnnx.graphs.export_report import ExportReport
from rnnx.graphs.model_targets import check_model_target
from rnnx.modules.example_inputs import DescribedInputs, described_inputs, own_example_inputs
from rnnx.modules.factories import MadeModel, make_model
from rnnx.modules.model_code import model_code
from rnnx.modules.model_options import ModelOptions
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.checkpoint_fit import load_state

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class FactoryOptions:
    """What to do with what a factory gives.

    `checkpoint` is loaded into the module, which else keeps the weights that the factory left it with; `state_dict`
    names the one of its state dicts that is meant, such as `ema`, where several fit. `inputs` are
    descriptions such as `tokens:int64:B,T:0..99` (see `described_inputs`); left out, the example is the factory's or
    the module's own. `model` says how to export; descriptions add the names of their dims and their lengths to it.
    With `decoder` the module is an autoregressive decoder, exported as that says and not as `model`.
    """

    checkpoint: Path | None = None
    state_dict: str | None = None
    inputs: tuple[str, ...] = ()
    model: ModelOptions = field(default_factory=ModelOptions)
    decoder: DecoderOptions | None = None


@dataclass(frozen=True, kw_only=True)
class PreparedModel:
    """A model that is loaded, in evaluation mode and with an example, whose dims and lengths `options` know."""

    module: "nn.Module"
    example_inputs: tuple[Any, ...] | Mapping[str, Any]
    options: ModelOptions
    weights: str
    notes: tuple[str, ...]


def export_factory(source: str, path: Path, options: FactoryOptions | None = None) -> ExportReport:
    """Export the model of `package.module:factory` to ONNX.

    Args:
        source: see `make_model`.
        path: the .onnx to write; see `export_model`, and `export_decoder` for a decoder.
        options: see `FactoryOptions`.

    Raises:
        as `prepare_model`, and then as `export_model` or `export_decoder`.
    """
    options = options or FactoryOptions()
    check_model_target(path, inputs=(options.checkpoint,))  # here too: the factory may take long
    with model_code(source):
        prepared = prepare_model(source, options)
        report = export_module(prepared.module, prepared.example_inputs, path, options.decoder or prepared.options)
    notes = (*prepared.notes, *report.notes)
    return replace(report, source=f"{source} · {report.source}", weights=prepared.weights, notes=notes)


def export_module(
    module: "nn.Module",
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    path: Path,
    options: ModelOptions | DecoderOptions | None,
) -> ExportReport:
    """Export a module whole, or as an autoregressive decoder; raises as `export_model` or `export_decoder`."""
    if isinstance(options, DecoderOptions):
        from rnnx.decoders.exporting import export_decoder

        return export_decoder(module, example_inputs, path, options)
    from rnnx.tracing.exporting import export_model  # here, for it imports torch

    return export_model(module, example_inputs, path, options)


def prepare_model(source: str, options: FactoryOptions) -> PreparedModel:
    """Make a factory's model, load its checkpoint, and find an example to call it with.

    Raises:
        FactoryError: the factory is missing, raises, or returns no module.
        CheckpointError: the checkpoint cannot be read, or does not fit the module.
        OptionError: there is no example, or a description is not one.
        MissingExtraError: torch is not installed.
    """
    described = described_inputs(options.inputs)  # first: the factory may take long
    made = make_model(source)
    weights = _load(made.module, options.checkpoint, options.state_dict)
    return PreparedModel(
        module=made.module,
        example_inputs=described.tensors() if described.inputs else _own_examples(source, made),
        options=_with_dims(options.model, described),
        weights=weights,
        notes=_evaluation_mode(made.module),
    )


def _with_dims(options: ModelOptions, described: DescribedInputs) -> ModelOptions:
    """The options with the dims and lengths of the described inputs."""
    return replace(
        options,
        dims={**described.dims, **options.dims},
        lengths=tuple(dict.fromkeys((*described.lengths, *options.lengths))),
    )


def _load(module: "nn.Module", checkpoint: Path | None, state_dict: str | None) -> str:
    if checkpoint is None:
        if state_dict is not None:
            raise OptionError(
                "state_dict", got=f"{state_dict} without a checkpoint", expected="a checkpoint", remedy="give both"
            )
        return "as the factory left them"
    loaded = load_state(module, open_checkpoint(checkpoint), state_dict)
    place = f", under {loaded.prefix!r}" if loaded.prefix else ""
    return f"{loaded.tensors} tensors of {checkpoint.name}{place}"


def _evaluation_mode(module: "nn.Module") -> tuple[str, ...]:
    training = sum(own.training for own in module.modules())
    if not training:
        return ()
    module.eval()
    return (f"put into evaluation mode: {training} of its modules were in training mode",)


def _own_examples(source: str, made: MadeModel) -> tuple[Any, ...] | Mapping[str, Any]:
    own = made.example_inputs if made.example_inputs is not None else own_example_inputs(made.module)
    if own is None:
        raise OptionError(
            f"example inputs of {source}",
            got=f"none for forward({', '.join(inspect.signature(made.module.forward).parameters)})",
            expected="a description of each input, a factory that returns (module, example_inputs), or the module's "
            "example_inputs or example_input_array",
            remedy="describe each parameter of forward in inputs (--input), such as x:float32:B,T,40 or "
            "tokens:int64:B,T:0..99",
        )
    return own
