"""From a trained recurrent module to a checked .onnx with its contract and golden file."""

import functools
import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rnnx.artifacts import staged
from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.errors import CheckpointError, OptionError
from rnnx.exporting.factory_export import FactoryOptions, export_factory, export_module
from rnnx.extras import require
from rnnx.formulations.choice import formulation_name, formulation_named
from rnnx.formulations.export_options import ExportOptions, form_of, opset_of
from rnnx.graphs.export_checks import checked_export
from rnnx.graphs.export_report import ExportReport
from rnnx.graphs.model_targets import check_model_target
from rnnx.modules.factories import is_factory
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.layer_weights import effective_tensors
from rnnx.truths.golden import golden_bytes, golden_path, golden_truth
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.named_tensors import Checkpoint
from rnnx.weights.recurrence import RecurrentModule, recurrence_from_module
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights
from rnnx_runtime.contract import Contract, Form, Source, layer_contract

if TYPE_CHECKING:
    from torch import nn

PRECISION = "float32"


def export(
    source: "str | os.PathLike[str] | nn.Module",
    path: str | os.PathLike[str],
    options: ExportOptions | ModelOptions | DecoderOptions | FactoryOptions | None = None,
    *,
    example_inputs: tuple[Any, ...] | Mapping[str, Any] | None = None,
) -> ExportReport:
    """Export a trained recurrent layer, cell, model or decoder to ONNX.

    Args:
        source: a checkpoint's path or a module: the layer itself, a module that contains it and no other weights (or
            whose layer `options.module` names). With `example_inputs` any module, which is exported whole; so is what
            `package.module:factory` makes.
        path: the .onnx to write; `<name>.golden.npz` is written beside it, and `<name>.onnx.data` for weights above
            2 GiB. Files appear whole or not at all.
        options: `ExportOptions` of a layer; with `example_inputs` `ModelOptions`, or `DecoderOptions` of an
            autoregressive decoder; `FactoryOptions` of a factory.
        example_inputs: what the whole model is called with: a tuple, or a dict by parameter name.

    Raises:
        FrozenDimError: the whole model fixes its batch or time; names the input, the axis and the model's line.
        CheckpointError: the source cannot be read, or has no recurrent layer.
        FactoryError: the factory is missing, raises, or returns no module.
        WeightsError: its tensors contradict each other or hold NaN or Inf.
        OptionError: an option does not fit the module.
        ExportError: a checker or ONNX Runtime refused the graph, or it gives other values than the truth.
        OutputError: the files could not be written.
        MissingExtraError: a package of `rnnx[export]` is not installed.
    """
    if not isinstance(path, str | os.PathLike):
        raise OptionError("path", got=type(path).__name__, expected="a path", remedy="give the .onnx to write")
    if isinstance(source, str) and is_factory(source):
        if example_inputs is not None:
            raise OptionError(
                "example_inputs",
                got=f"them for the factory {source}",
                expected="descriptions in FactoryOptions(inputs=…), or a factory that returns (module, example_inputs)",
                remedy="or make the module and give it in place of the factory's name",
            )
        return export_factory(source, Path(path), _fitting(options, FactoryOptions))
    if example_inputs is None:
        return _export_layer(source, path, _fitting(options, ExportOptions) or ExportOptions())
    for package in ("torch", "onnx", "onnxscript", "spox"):
        require(package, extra="export", purpose="exporting a whole model")
    return export_module(_whole(source), example_inputs, Path(path), _fitting(options, ModelOptions, DecoderOptions))


def _whole(source: Any) -> "nn.Module":
    if isinstance(source, str | os.PathLike):
        raise OptionError(
            "example_inputs",
            got=f"them for the file {Path(source).name}",
            expected="a module, for a file holds weights and no forward",
            remedy="build the module, load the weights into it and give it in place of the file",
        )
    return cast("nn.Module", source)


def _fitting(options: Any, *kinds: type[Any]) -> Any:
    if options is not None and not isinstance(options, kinds):
        raise OptionError(
            "options",
            got=type(options).__name__,
            expected=" or ".join(kind.__name__ for kind in kinds),
            remedy="ModelOptions and DecoderOptions go with example_inputs, FactoryOptions with a factory's name, "
            "ExportOptions with a layer or a checkpoint",
        )
    return options


def _export_layer(
    source: "str | os.PathLike[str] | nn.Module", path: str | os.PathLike[str], options: ExportOptions
) -> ExportReport:
    target = Path(path)
    read = Path(source) if isinstance(source, str | os.PathLike) else None
    check_model_target(target, inputs=(read,))
    checkpoint = _checkpoint(source)
    module = choose_module(checkpoint, options.module)
    if read is None and options.module is None:
        _refuse_more(checkpoint, module)
    form, opset = form_of(module, options), opset_of(options)
    for package in ("onnx", "spox"):
        require(package, extra="export", purpose="exporting to ONNX")
    weights = read_weights(checkpoint, module)
    layer = _layer(source, module)
    contract = _contract(checkpoint, weights, form, opset, options, layer)
    del checkpoint  # and with it the file's mapped pages

    from rnnx.graphs.onnx_writer import write_onnx

    truth = golden_truth(weights, contract)
    golden = golden_bytes(truth, weights.sha256)
    contract = replace(contract, golden_sha256=hashlib.sha256(golden).hexdigest())
    with staged(target) as stage:
        (stage / golden_path(target).name).write_bytes(golden)
        nodes = write_onnx(
            stage / target.name, formulation_named(contract.layer().formulation), contract, weights, opset
        )
        del weights  # the checks hold the model in memory once more
        checked = checked_export(
            stage / target.name, truth, contract, remedy="this is a defect of rnnx: report it", any_backend=True
        )
    return ExportReport(
        path=target,
        golden=golden_path(target),
        contract=contract,
        nodes=nodes,
        bytes=checked.bytes,
        checks=checked.checks,
        source=f"{contract.source.file} · {module.shown_prefix} · {module.type_name}",
        weights=f"{module.dtype} in the source, {contract.precision} in the graph",
    )


def _checkpoint(source: "str | os.PathLike[str] | nn.Module") -> Checkpoint:
    if isinstance(source, str | os.PathLike):
        return open_checkpoint(Path(source))
    if not hasattr(source, "state_dict") or isinstance(source, type):
        raise CheckpointError(
            "source",
            got=f"the class {source.__name__}" if isinstance(source, type) else type(source).__name__,
            expected="a checkpoint's path or an nn.Module",
            remedy="load a state dict into its module, or save it to a file",
        )
    return TorchCheckpoint(type(source).__name__, effective_tensors(source))


def _refuse_more(checkpoint: Checkpoint, module: RecurrentModule) -> None:
    """Refuse a live module with weights outside of its one layer, which would be left out without a word."""
    own = f"{module.prefix}." if module.prefix else ""
    shown = module.prefix
    others = [name for name in checkpoint.tensors if not name.startswith(own)]
    if others:
        raise OptionError(
            "source",
            got=f"a {checkpoint.name} with {len(others)} tensors besides its layer {shown!r}, such as {others[0]}",
            expected="a layer alone",
            remedy=f"give example_inputs to export it whole, or ExportOptions(module={shown!r}) for the layer alone",
        )


def _layer(source: Any, module: RecurrentModule) -> Any:
    """The live layer, which knows what tensors do not say; None of a checkpoint."""
    layer = None if isinstance(source, str | os.PathLike) else source
    for name in filter(None, module.prefix.split(".")):
        layer = getattr(layer, name, None)
    return layer


def _batch_first(layer: Any, module: RecurrentModule, options: ExportOptions) -> bool:
    own = False if module.is_cell else getattr(layer, "batch_first", False)
    return bool(own if options.batch_first is None else options.batch_first)


def _contract(
    checkpoint: Checkpoint, weights: RecurrentWeights, form: Form, opset: int, options: ExportOptions, layer: Any
) -> Contract:
    module = weights.module
    recurrence = recurrence_from_module(
        module,
        form=form,
        formulation=formulation_name(module, form),
        steps=options.steps,
        batch_first=_batch_first(layer, module, options),
        nonlinearity=options.nonlinearity or getattr(layer, "nonlinearity", None),
        state_inputs=options.stateful,
        lengths=options.lengths,
    )
    return layer_contract(
        recurrence,
        precision=PRECISION,
        source=Source(file=_utf8(checkpoint.name), module=module.prefix, weights_sha256=weights.sha256),
        versions={**_package_versions(), "opset": str(opset)},
    )


def _utf8(name: str) -> str:
    """A file's name as any reader of JSON takes it; bytes that are no text become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


@functools.cache
def _package_versions() -> dict[str, str]:
    return {package: version(package) for package in ("rnnx", "onnx", "spox")}
