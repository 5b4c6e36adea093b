"""What a foreign file is held to: PyTorch in float64 where weights or a module are given, else the file itself."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnx.adopting.adopt_options import AdoptOptions
from rnnx.adopting.foreign_runs import ForeignRuns
from rnnx.adopting.reading import Reading
from rnnx.adopting.trying import Tried
from rnnx.errors import AdoptionError, OptionError
from rnnx.extras import require
from rnnx.graphs.value_checks import ValuesDifferError, check_values
from rnnx.runners.sources import read_subject, refuse_beside_module
from rnnx.runners.subject import Subject
from rnnx.truths.cases import Case
from rnnx.truths.model_cases import EXAMPLE, sizes_name
from rnnx.truths.model_golden import EagerModel, MeasuredModel, ModelTruth
from rnnx.truths.torch_reference import TorchReference, torch_threads
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Contract, Source
from rnnx_runtime.files.model_file import OnnxFile

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class GivenTruth:
    """What computes the truth, and the contract that says whose it is; `title` names it where it is not the file."""

    model: EagerModel | MeasuredModel
    contract: Contract
    title: str = ""


class LayerTruth:
    """A layer of PyTorch's under the names of the file that is said to hold it; an `EagerModel`."""

    def __init__(self, subject: Subject, names: Mapping[str, str]) -> None:
        """`names` has the file's name of each of the layer's inputs and outputs, as far as the file has them."""
        assert subject.weights is not None
        self._names = names
        self._layers = {
            precision: TorchReference(subject.weights, subject.layer, precision=precision)
            for precision in ("float32", "float64")
        }

    def outputs(self, feeds: Mapping[str, Array], dtype: Any) -> dict[str, Array]:
        """The file's outputs; raises what PyTorch raises, such as for a length of 0."""
        given = {ours: feeds[name] for ours, name in self._names.items() if name in feeds}
        values = self._layers[str(dtype).removeprefix("torch.")].outputs(Case(name="", feeds=given))
        return {name: values[ours] for ours, name in self._names.items() if ours in values}


def layer_of(file: OnnxFile, options: AdoptOptions) -> Subject | None:
    """The file read against the weights that the caller says it holds; None where none are given for a layer.

    Raises:
        CheckpointError: the checkpoint cannot be read, or the graph's sizes are not its layer's.
        OptionError: a name that is not the layer's or not the graph's, one that is missing, an output that is no
            layer's, names without a checkpoint, or names beside a module.
    """
    if options.model is not None:
        refuse_beside_module(options.sources)
        return None
    if not options.sources.says_what_the_file_is:
        return None
    require("torch", extra="export", purpose="the truth of a checkpoint's layer")
    subject = read_subject(file.path, options.sources, file.data)
    if subject.foreign is not None and subject.foreign.unmapped:
        others = ", ".join(subject.foreign.unmapped)
        raise OptionError(
            f"the outputs of {file.path.name}",
            got=f"{others} besides {', '.join(spec.name for spec in subject.outputs)}",
            expected="those of a layer alone, whose truth the checkpoint gives",
            remedy="name what stands for output, hn and cn (--map NAME=TENSOR), or give the whole module as the model",
        )
    return subject


@contextmanager
def opened_truth(
    reading: Reading, runs: ForeignRuns, found: Tried, layer: Subject | None, options: AdoptOptions
) -> Iterator[GivenTruth]:
    """The truth of a file as it was found to be: a module's, a layer's, or its own.

    Raises what `rnnx.tracing.live_model.read_model` raises for the module.
    """
    if options.model is not None:
        with _module_truth(options.model, found, options.sources.checkpoint) as truth:
            yield truth
    elif layer is not None:
        with torch_threads(1):
            yield _layer_truth(reading, found.contract, layer)
    else:
        yield GivenTruth(model=runs, contract=found.contract)


def _layer_truth(reading: Reading, contract: Contract, layer: Subject) -> GivenTruth:
    assert layer.foreign is not None
    ours = {theirs: own for own, theirs in reading.theirs.items()}
    names = {name: ours[theirs] for name, theirs in layer.foreign.names.items()}
    source = layer.contract.source
    return GivenTruth(
        model=LayerTruth(layer, names),
        contract=replace(contract, truth="float64", source=source),
        title=f"{source.module or 'the layer'} in {source.file}",
    )


@contextmanager
def _module_truth(model: "str | nn.Module", found: Tried, checkpoint: Path | None) -> Iterator[GivenTruth]:
    require("torch", extra="export", purpose="the truth of a module")
    from rnnx.tracing.live_model import read_model  # here, for it imports torch
    from rnnx.tracing.weights_digest import weights_sha256

    example = CaseTruth(case=Case(name=EXAMPLE, feeds=found.example), truth={}, float32_error={})
    with read_model(model, checkpoint, found.contract, example, 1) as live:
        source = Source(file=type(live.module).__name__, module="", weights_sha256=weights_sha256(live.module))
        contract = replace(found.contract, truth="float64", source=source)
        yield GivenTruth(model=live.eager(), contract=contract, title=live.title)


def checked_values(written: Path, truth: ModelTruth, contract: Contract, theirs: Path, title: str) -> str:
    """What `check_values` says of the written file; `title` names what computed the truth, where it is not the file.

    Raises:
        AdoptionError: the file gives other values than that.
        ExportError: ONNX Runtime refuses what was written, or it gives other values than the file it was made of.
    """
    try:
        return check_values(written, truth.entries, contract)
    except ValuesDifferError as error:
        if not title:
            raise
        first = next(entry.case for entry in truth.entries if entry.case.name in error.failed)
        at = sizes_name(sizes_from_feeds(contract.inputs, first.feeds))
        raise AdoptionError(
            f"output {error.output!r} of {theirs.name} at {at}",
            got=error.got,
            expected=f"{error.expected}, of {title}",
            remedy="give the weights or the module that the file was exported from; rnnx verify with the same options "
            "says where they part",
        ) from error
