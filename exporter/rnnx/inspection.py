"""What a file holds: the recurrent layers of a checkpoint, or the contract of a model."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rnnx.engines.profiles import text_from_profile
from rnnx.extras import require
from rnnx.linting.message_limits import refuse_swollen
from rnnx.linting.onnx_parsing import parse_onnx
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.recurrence import RecurrentModule
from rnnx.weights.weights import surveyed
from rnnx_runtime.contract import Contract, DecoderPart, Recurrence, TensorSpec, TruthKind
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.model_file import LARGEST_ONNX, OnnxFile, PlanFile, bytes_of, checked_onnx, read_plan
from rnnx_runtime.files.seal import is_sealed

Row = tuple[str, str]

TRUTHS: dict[TruthKind, str] = {
    "float64": "the reference in float64",
    "onnxruntime-float32": "ONNX Runtime float32: the file's own values, no PyTorch truth",
}
"""What a golden file's values are, for people."""


@dataclass(frozen=True, kw_only=True)
class CheckpointInspection:
    """The recurrent modules of a checkpoint, what is wrong with others by prefix, how many tensors are not theirs."""

    modules: tuple[RecurrentModule, ...]
    broken: Mapping[str, str]
    other_tensors: int


@dataclass(frozen=True, kw_only=True)
class ModelInspection:
    """A model's facts as (name, value) rows for people, and as plain data."""

    rows: tuple[tuple[str, str], ...]
    data: dict[str, Any]


def inspect(path: str | os.PathLike[str]) -> CheckpointInspection | ModelInspection:
    """Inspect a checkpoint, an .onnx or a .plan by its suffix.

    Raises:
        CheckpointError: the checkpoint cannot be read or has no recurrent layer.
        FileDamagedError, ContractError: the model is damaged, or a plan has no sidecar.
        AdoptionError: an .onnx that rnnx did not write has nothing recurrent in it.
    """
    path = Path(path)
    match path.suffix:
        case ".onnx" | ".ort":
            data = bytes_of(path, LARGEST_ONNX)
            if not is_sealed(data):
                return _foreign(path, data)
            refuse_swollen(path, data)  # whoever can write a file can seal it
            return _onnx(checked_onnx(path, data))
        case ".plan":
            return _plan(read_plan(path))
    checkpoint = open_checkpoint(path)
    survey = surveyed(checkpoint)
    own = sum(_tensor_count(module) for module in survey.modules)
    return CheckpointInspection(
        modules=survey.modules,
        broken={prefix: str(error) for prefix, error in survey.broken.items()},
        other_tensors=len(checkpoint.tensors) - own,
    )


def json_from_inspection(inspection: CheckpointInspection | ModelInspection) -> dict[str, Any]:
    """The inspection as plain JSON data."""
    if isinstance(inspection, ModelInspection):
        return inspection.data
    modules = [{"type": module.type_name, **dataclasses.asdict(module)} for module in inspection.modules]
    return {"modules": modules, "broken": dict(inspection.broken), "other_tensors": inspection.other_tensors}


def _tensor_count(module: RecurrentModule) -> int:
    return module.layers * module.directions * (2 + 2 * module.bias + module.is_projected)


def _onnx(model: OnnxFile) -> ModelInspection:
    nodes = _node_counts(model)
    shown = ", ".join(f"{count} {op}" for op, count in nodes.items()) if nodes else "not counted: onnx is not installed"
    rows = (
        *contract_rows(model.contract),
        ("nodes", shown),
        ("exported with", ", ".join(f"{name} {version}" for name, version in model.contract.versions.items())),
    )
    return ModelInspection(rows=rows, data={"contract": json_from_contract(model.contract), "nodes": nodes})


def _foreign(path: Path, data: bytes) -> ModelInspection:
    """What the graph of another exporter's file says; nothing of it is tried."""
    require("onnx", extra="doctor", purpose=f"reading {path.name}")
    from rnnx.adopting.reading import read_recurrent, rows_of_reading

    reading = read_recurrent(path, data)
    facts = {
        "adopted": False,
        "contract": json_from_contract(reading.contract),
        "states": [state.shown for state in reading.states],
        "others": dict(reading.others),
        "renamed": reading.renamed,
        "nodes": dict(sorted(reading.operators.items())),
    }
    rows = tuple(row for row in contract_rows(reading.contract) if row[0] not in ("streaming", "batching"))
    return ModelInspection(rows=(*rows, *rows_of_reading(reading)), data=facts)


def _node_counts(model: OnnxFile) -> dict[str, int] | None:
    """Nodes by operator; None on a host that only runs models."""
    try:
        import_module("onnx")
    except ModuleNotFoundError:
        return None
    proto = parse_onnx(model.path, model.data)
    return dict(sorted(Counter(node.op_type for node in proto.graph.node).items()))


def _plan(plan: PlanFile) -> ModelInspection:
    sidecar = plan.sidecar
    rows = (
        ("engine", f"{sidecar.flavor} {sidecar.version}, TF32 {'on' if sidecar.tf32 else 'off'}"),
        ("targets", ", ".join(sidecar.targets)),
        *((f"profile {index}", text_from_profile(profile)) for index, profile in enumerate(sidecar.profiles)),
        ("built from", f"ONNX with sha256 {sidecar.onnx_sha256[:12]}…"),
        *contract_rows(sidecar.contract),
    )
    data = {**dataclasses.asdict(sidecar), "contract": json_from_contract(sidecar.contract)}
    return ModelInspection(rows=rows, data=data)


def contract_rows(contract: Contract) -> tuple[Row, ...]:
    """The contract's facts as (name, value)."""
    head = _layer_rows(contract.bare, contract.precision) if contract.bare else tuple(_model_rows(contract))
    return (
        *head,
        *_tensor_rows(contract),
        ("streaming", _streaming(contract)),
        ("batching", _batching(contract)),
        *([("golden", TRUTHS[contract.truth])] if contract.truth != "float64" else []),
        ("source", f"{contract.source.file} · {contract.source.module or '(root)'}"),
        ("weights", f"sha256 {contract.source.weights_sha256[:12]}…"),
    )


def _layer_rows(own: Recurrence, precision: str) -> tuple[Row, ...]:
    kind = own.cell.upper() if own.nonlinearity is None else f"RNN ({own.nonlinearity})"
    return ("model", f"{kind} {own.form}: {_sizes(own)}"), ("formulation", f"{own.formulation}, {precision}")


def _streaming(contract: Contract) -> str:
    streaming = contract.streaming
    return f"{streaming.kind}{f': {streaming.reason}' if streaming.reason else ''}"


def _batching(contract: Contract) -> str:
    own = contract.batching
    padding = f", padding {own.padding}" if contract.lengths else ""
    return f"rows {own.rows}{padding}{f': {own.reason}' if own.reason else ''}"


def _model_rows(contract: Contract) -> Iterator[Row]:
    yield "model", f"whole model, {contract.precision}"
    for part in contract.recurrent:
        kind = f"{part.cell.upper()}{' cell' if part.form != 'encoder' else ''}"
        yield "recurrent", f"{part.name}: {kind}, {_sizes(part)}, {part.formulation}"
    for pair in contract.states:
        yield "state", f"{pair.input} → {pair.output}"
    if contract.lengths:
        yield "lengths", ", ".join(contract.lengths)
    if contract.decoder:
        yield "decoder", _decoder(contract.decoder)


def _decoder(part: DecoderPart) -> str:
    texts: list[str] = [part.form]
    texts += [f"{part.steps} steps"] if part.steps else []
    texts += [f"feeding {'its own argmax' if part.feed == 'argmax' else 'given tokens'}"] if part.feed else []
    tokens = {"start": part.start_token, "end": part.end_token, "pad": part.pad_token}
    return ", ".join([*texts, *(f"{name} token {token}" for name, token in tokens.items() if token is not None)])


def _sizes(own: Recurrence) -> str:
    sizes = f"input {own.input_size}, hidden {own.hidden_size}"
    if own.projection_size != own.hidden_size:
        sizes += f" (h {own.projection_size})"
    return f"{sizes}, {own.layers} layers, {own.directions} directions"


def _tensor_rows(contract: Contract) -> Iterator[Row]:
    for name, specs in (("input", contract.inputs), ("output", contract.outputs)):
        for spec in specs:
            yield name, _tensor(spec)


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype} {spec.shape}"
