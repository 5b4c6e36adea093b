"""From a trained encoder and its decoder to a pair of .onnx files and the manifest that says how they work together."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from rnnx.artifacts import check_targets, staged
from rnnx.decoders.decoder_graph import DecoderGraph
from rnnx.decoders.decoder_writing import moved, write_decoder
from rnnx.decoders.eager_pair import EagerPair
from rnnx.decoders.exporting import decoder_graph_of, decoder_part, decoding_contract, truth_of
from rnnx.decoders.joined_graph import joined_graph
from rnnx.decoders.pair_call import PairCall, read_pair_call
from rnnx.decoders.pair_options import Seq2SeqOptions, check_pair_options
from rnnx.decoders.step_export import ExportedStep, export_step
from rnnx.errors import OptionError
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.exporting import ExportedModel, exported_model
from rnnx.tracing.preparation import as_float32
from rnnx.truths.golden import golden_path
from rnnx_runtime.contract import Contract, DecoderPart, Source
from rnnx_runtime.seq2seq.manifest import Piece, Seq2SeqManifest, text_from_manifest

if TYPE_CHECKING:
    from torch import nn

SUFFIX = ".seq2seq.json"


@dataclass(frozen=True, kw_only=True)
class Seq2SeqExportReport:
    """What was written: the manifest, the encoder, and the decoder's graphs by role (`decoder`, `loop`, `whole`)."""

    path: Path
    manifest: Seq2SeqManifest
    encoder: ExportReport
    decoders: Mapping[str, ExportReport]


def export_seq2seq(
    encoder: "nn.Module",
    decoder: "nn.Module",
    example_inputs: tuple[Any, ...] | Mapping[str, Any],
    path: str | os.PathLike[str],
    options: Seq2SeqOptions,
) -> Seq2SeqExportReport:
    """Export an encoder and its decoder as files that `rnnx_runtime.load_seq2seq` decodes with.

    Args:
        encoder: gives `(state, *context)`: what the decoder takes after its token, in the same order. What it does not
            give, such as a mask or lengths, the decoder may take from the encoder's inputs by their names.
        decoder: as `export_decoder` takes it.
        example_inputs: what the encoder is called with.
        path: the manifest to write, `<name>.seq2seq.json`; beside it `<name>.encoder.onnx`, `<name>.decoder.onnx`, what
            the options ask for, and golden files. All appear or none.
        options: see `Seq2SeqOptions`.

    Raises:
        OptionError: an option does not fit, or the two modules do not fit each other.
        ExportError: as `rnnx.tracing.exporting.export_model`.
        OutputError: the files could not be written.
    """
    check_pair_options(options)
    target = Path(path)
    if not target.name.endswith(SUFFIX) or target.name == SUFFIX:
        raise OptionError(
            "output", got=target.name, expected=f"a name ending in {SUFFIX}", remedy=f"use {target.stem}{SUFFIX}"
        )
    check_targets(target, *_models_of(target), *map(golden_path, _models_of(target)))
    call = read_pair_call(encoder, decoder, example_inputs, options)
    with staged(target) as stage:
        pieces = _Pieces(call, example_inputs, options, stage / target.name.removesuffix(SUFFIX))
        manifest = _manifest(pieces, call, options)
        (stage / target.name).write_bytes(text_from_manifest(manifest).encode())
    folder = target.parent
    return Seq2SeqExportReport(
        path=target,
        manifest=manifest,
        encoder=moved(pieces.encoder, folder),
        decoders={role: moved(file, folder) for role, file in pieces.decoders.items()},
    )


def _models_of(target: Path) -> list[Path]:
    """What may be written beside a manifest."""
    stem = target.name.removesuffix(SUFFIX)
    return [target.with_name(f"{stem}.{role}.onnx") for role in ("encoder", "decoder", "loop", "whole")]


class _Pieces:
    """The files of a pair, written one after the other into a folder that is not yet the final one."""

    def __init__(self, call: PairCall, example_inputs: Any, options: Seq2SeqOptions, prefix: Path) -> None:
        self._call, self._options, self._prefix = call, options, prefix
        chosen = ModelOptions(output_names=call.encoder_outputs, opset=options.opset)
        encoder = exported_model(call.encoder, example_inputs, self._path("encoder"), chosen)
        step = export_step(call.decoder, call.decoder_inputs, self._path("decoder"), options.of_step)
        self.encoder, self.decoders = encoder.report, {"decoder": step.report}
        if options.loop or options.whole:
            part = decoder_part(step.part, options.of_loop, {*step.tensors, *call.tensors})
            loop = decoder_graph_of(step.graph, part)
            if options.loop:
                contract, truth = decoding_contract(step.contract, part), truth_of(step, part)
                self.decoders["loop"] = write_decoder(self._path("loop"), loop, contract, truth, step.tensors)
            if options.whole:
                self.decoders["whole"] = self._written_whole(encoder, step, loop, part)

    def _path(self, role: str) -> Path:
        return self._prefix.with_name(f"{self._prefix.name}.{role}.onnx")

    def _written_whole(
        self, encoder: ExportedModel, step: ExportedStep, loop: DecoderGraph, part: DecoderPart
    ) -> ExportReport:
        own = encoder.report.contract
        graph = joined_graph(ir.to_proto(encoder.model), own, loop, self._call.passes)
        module, _ = as_float32(self._call.encoder)
        eager = EagerModel(module, self._call.signature, output_names=self._call.encoder_outputs)
        results = tuple(spec.name for spec in graph.outputs)
        truth = EagerPair(eager, truth_of(step, part), self._call.passes, results)
        contract = _joined_contract(own, step.contract, replace(part, context=()))
        return write_decoder(self._path("whole"), graph, contract, truth, self._call.tensors)


def _joined_contract(encoder: Contract, step: Contract, part: DecoderPart) -> Contract:
    parts = {"encoder": encoder, "decoder": step}
    named = [replace(own, name=f"{role}.{own.name}") for role, of in parts.items() for own in of.recurrent]
    digest = hashlib.sha256("\n".join(own.source.weights_sha256 for own in parts.values()).encode()).hexdigest()
    source = Source(file=f"{encoder.source.file}+{step.source.file}", module="", weights_sha256=digest)
    joined = replace(encoder, recurrent=tuple(named), source=source, golden_sha256="")
    return decoding_contract(joined, part)


def _manifest(pieces: _Pieces, call: PairCall, options: Seq2SeqOptions) -> Seq2SeqManifest:
    decoders = {role: _piece(file.path) for role, file in pieces.decoders.items()}
    return Seq2SeqManifest(
        encoder=_piece(pieces.encoder.path),
        decoder=decoders["decoder"],
        loop=decoders.get("loop"),
        whole=decoders.get("whole"),
        passes=call.passes,
        start_token=options.start_token,
        end_token=options.end_token,
        pad_token=options.end_token if options.pad_token is None else options.pad_token,
        max_steps=options.max_steps,
        versions=dict(pieces.encoder.contract.versions),
    )


def _piece(path: Path) -> Piece:
    with path.open("rb") as file:
        return Piece(file=path.name, sha256=hashlib.file_digest(file, "sha256").hexdigest())
