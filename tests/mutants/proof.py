"""A mutant or its twin put before the comparison and the diagnosis, as verify does it, on ONNX Runtime."""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx import helper
from safetensors.torch import save_file
from tests.mutants.mutant import Edit, Mutant, Source

import rnnx
from rnnx.diagnosis.diagnosis import Diagnosis
from rnnx.diagnosis.differential import diagnose
from rnnx.parity.parity import ParityRow, compare
from rnnx.runners.candidates import Candidate, SessionCandidate
from rnnx.runners.foreign_candidate import ForeignCandidate
from rnnx.runners.foreign_model import read_foreign_model
from rnnx.truths.case_matrix import matrix_cases
from rnnx.truths.torch_reference import torch_truth
from rnnx.truths.truth import CaseTruth
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights
from rnnx_runtime import Contract
from rnnx_runtime.files.seal import BLANK, SEAL_KEY

SEED = 17


@dataclass(frozen=True, kw_only=True)
class SoundModel:
    """A source exported, with its truth."""

    proto: onnx.ModelProto
    contract: Contract
    weights: RecurrentWeights
    truth: list[CaseTruth]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the comparison and, for a row that failed, the diagnosis say."""

    row: ParityRow
    diagnosis: Diagnosis | None


def export_source(source: Source, folder: Path) -> SoundModel:
    """Export a source with seeded weights into a folder, and compute the truth of its cases."""
    torch.manual_seed(SEED)
    checkpoint, model = folder / "weights.safetensors", folder / "model.onnx"
    save_file(source.build().state_dict(), checkpoint)
    contract = rnnx.export(checkpoint, model, rnnx.ExportOptions(**source.options)).contract
    opened = open_checkpoint(checkpoint)
    weights = read_weights(opened, choose_module(opened, None))
    cases = [*matrix_cases(contract.layer(), "quick"), *source.cases(contract)]
    truth = torch_truth(weights, contract.layer(), cases)
    return SoundModel(proto=onnx.load(model), contract=contract, weights=weights, truth=truth)


def verdict_of(sound: SoundModel, edit: Edit, path: Path, *, foreign: bool = False) -> Verdict:
    """Compare an edited model with the truth of the sound one, and diagnose it where it fails."""
    proto = onnx.ModelProto.FromString(sound.proto.SerializeToString())
    edit(proto)
    with contextlib.closing(_opened(sound, proto, path, foreign=foreign)) as candidate:
        row = compare(candidate, sound.truth, sound.contract, "float32")
        found = None
        if row.status == "fail":
            found = diagnose(
                candidate,
                row,
                sound.truth,
                sound.contract.layer(),
                sound.weights,
                proto,
                outputs=sound.contract.outputs,
            )
    return Verdict(row=row, diagnosis=found)


def _opened(sound: SoundModel, proto: onnx.ModelProto, path: Path, *, foreign: bool) -> Candidate:
    if not foreign:
        write_sealed(proto, path)
        return SessionCandidate("ort-cpu", path, 1)
    del proto.metadata_props[:]
    data = proto.SerializeToString()
    batch_first = sound.contract.layer().batch_first
    model = read_foreign_model(path, data, sound.weights, "weights.safetensors", {}, batch_first=batch_first)
    return ForeignCandidate("ort-cpu", model, 1)


def write_sealed(model: onnx.ModelProto, path: Path) -> None:
    """Write a model under a fresh seal, so that only verify can know it was changed."""
    contract = json.loads(next(prop.value for prop in model.metadata_props if prop.key == "rnnx"))
    helper.set_model_props(model, {"rnnx": json.dumps({**contract, SEAL_KEY: BLANK})})
    data = model.SerializeToString()
    path.write_bytes(data.replace(BLANK.encode(), hashlib.sha256(data).hexdigest().encode()))


def missed(mutant: Mutant, verdict: Verdict) -> str:
    """What a verdict fails to say of a mutant; empty where it says all of it."""
    if verdict.row.status != "fail":
        return "not caught"
    found = verdict.diagnosis
    assert found is not None
    if found.cause != mutant.cause:
        return f"named {found.cause}: {found.summary}"
    said = f"{found.summary} {found.node}"
    if mutant.says not in said:
        return f"{mutant.says!r} is not in {said!r}"
    for part in ("layer", "direction", "gate"):
        expected, got = getattr(mutant, part), getattr(found.location, part)
        if expected is not None and got != expected:
            return f"{part} {got}, expected {expected}: {found.summary}"
    return ""
