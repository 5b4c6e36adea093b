"""A decoder's graph as a sealed .onnx with its contract, golden file and checks."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
from onnx import ModelProto, helper
from torch import Tensor

from rnnx.artifacts import staged
from rnnx.decoders.decoder_graph import DecoderGraph, value_info
from rnnx.errors import OptionError
from rnnx.graphs.export_checks import checked_export
from rnnx.graphs.export_report import ExportReport
from rnnx.graphs.model_targets import check_model_target
from rnnx.graphs.model_writing import write_model
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import EagerModel, model_golden_bytes, model_truth
from rnnx_runtime.contract import Contract


def write_decoder(
    path: Path, graph: DecoderGraph, contract: Contract, eager: EagerModel, tensors: Mapping[str, Tensor]
) -> ExportReport:
    """Write `path` and its golden file, both checked; `tensors` is an example of the graph's inputs.

    The contract's inputs, outputs and states become those of the graph.

    Raises:
        OptionError: the path does not end in .onnx, or an input has an output's name.
        ExportError: a checker refused the graph, or it gives other values than `eager`.
        OutputError: the files could not be written.
    """
    check_model_target(path)
    _refuse_shared_names(graph)
    own = {spec.name for spec in graph.inputs}
    tables = {name: rows for name, rows in contract.table_sizes.items() if name in own}
    contract = replace(contract, inputs=graph.inputs, outputs=graph.outputs, states=graph.states, table_sizes=tables)
    named = {spec.name: tensors[spec.name] for spec in graph.inputs}
    truth = model_truth(eager, contract, named)
    golden = model_golden_bytes(truth, contract.source.weights_sha256)
    contract = replace(contract, golden_sha256=hashlib.sha256(golden).hexdigest())
    with staged(path) as stage:
        written = stage / path.name
        (stage / golden_path(path).name).write_bytes(golden)
        nodes = write_model(written, ir.from_proto(model_from_graph(graph, int(contract.versions["opset"]))), contract)
        checked = checked_export(
            written, truth.entries, contract, remedy="write this part of the decoder in another way"
        )
    return ExportReport(
        path=path,
        golden=golden_path(path),
        contract=contract,
        nodes=nodes,
        bytes=checked.bytes,
        checks=checked.checks,
        source=contract.source.file,
    )


def moved(report: ExportReport, folder: Path) -> ExportReport:
    """The report of files that were staged and now lie in `folder`."""
    return replace(report, path=folder / report.path.name, golden=folder / report.golden.name)


def model_from_graph(graph: DecoderGraph, opset: int) -> ModelProto:
    """The graph as an ONNX model, with no metadata yet."""
    inputs, outputs = (
        [value_info(spec.name, spec.dtype, spec.dims) for spec in specs] for specs in (graph.inputs, graph.outputs)
    )
    proto = helper.make_graph(list(graph.nodes), "decoder", inputs, outputs, list(graph.weights))
    imports = [helper.make_opsetid("", opset)]
    model: ModelProto = helper.make_model(proto, opset_imports=imports)
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    return model


def _refuse_shared_names(graph: DecoderGraph) -> None:
    inputs = {spec.name for spec in graph.inputs}
    shared = [spec.name for spec in graph.outputs if spec.name in inputs]
    if shared:
        raise OptionError(
            f"input {shared[0]!r} of the decoder",
            got="the name of one of its outputs",
            expected="a name of its own",
            remedy="rename this parameter of forward",
        )
