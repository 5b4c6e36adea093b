"""Exporting the model that a factory gives: its checkpoint loaded, its example made, in evaluation mode."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnx.checkpoint import open_checkpoint
from rnnx.checkpoint_fit import load_state
from rnnx.errors import OptionError
from rnnx.example_inputs import described_inputs, own_example_inputs
from rnnx.factories import MadeModel, make_model
from rnnx.model_options import ModelOptions

if TYPE_CHECKING:
    from torch import nn

    from rnnx.model_export.exporting import ModelExportReport


@dataclass(frozen=True, kw_only=True)
class FactoryOptions:
    """What to do with what a factory gives.

    `checkpoint` is loaded into the module, which else keeps the weights that the factory left it with. `inputs` are
    descriptions such as `tokens:int64:B,T:0..99` (see `described_inputs`); left out, the example is the factory's or
    the module's own. `model` says how to export; descriptions add the names of their dims and their lengths to it.
    """

    checkpoint: Path | None = None
    inputs: tuple[str, ...] = ()
    model: ModelOptions = field(default_factory=ModelOptions)


@dataclass(frozen=True, kw_only=True)
class FactoryExportReport:
    """The export's report, where the weights came from, and what was done to the module before."""

    model: "ModelExportReport"
    source: str
    weights: str
    notes: tuple[str, ...]


def export_factory(source: str, path: Path, options: FactoryOptions | None = None) -> FactoryExportReport:
    """Export the model of `package.module:factory` to ONNX.

    Args:
        source: see `make_model`.
        path: the .onnx to write; see `export_model`.
        options: see `FactoryOptions`.

    Raises:
        FactoryError: the factory is missing, raises, or returns no module.
        CheckpointError: the checkpoint cannot be read, or does not fit the module.
        OptionError: there is no example, or a description is not one.
        and whatever `export_model` raises.
    """
    options = options or FactoryOptions()
    described = described_inputs(options.inputs)  # first: the factory may take long
    made = make_model(source)
    weights = _load(made.module, options.checkpoint)
    notes = _evaluation_mode(made.module)
    model_options = options.model
    if described.inputs and not model_options.static:
        model_options = replace(
            model_options,
            dims={**described.dims, **model_options.dims},
            lengths=(*described.lengths, *model_options.lengths),
        )
    examples = described.tensors() if described.inputs else _own_examples(source, made)
    from rnnx.model_export.exporting import export_model  # here, for it imports torch

    report = export_model(made.module, examples, path, model_options)
    return FactoryExportReport(model=report, source=source, weights=weights, notes=notes)


def _load(module: "nn.Module", checkpoint: Path | None) -> str:
    if checkpoint is None:
        return "as the factory left them"
    loaded = load_state(module, open_checkpoint(checkpoint))
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
            expected="--input for each input, a factory that returns (module, example_inputs), or the module's "
            "example_inputs or example_input_array",
            remedy="describe each parameter of forward, such as --input x:float32:B,T,40 or "
            "--input tokens:int64:B,T:0..99",
        )
    return own
