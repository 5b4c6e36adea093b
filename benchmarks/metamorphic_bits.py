"""Which properties hold to the last bit, on each backend and layer: `python benchmarks/metamorphic_bits.py`.

The property checks of `rnnx verify --matrix full` on exported layers of random weights and on the trained models: what
is in the padding, the order of a batch, its mates, its split, and chunks with the state carried. Each is `bitwise`
where no bit differs; otherwise the largest difference is given as a share of what is allowed, twice the tolerance.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rounds import write_result
from torch import nn

import rnnx
from rnnx.checks.plan import plan_checks, run_checks
from rnnx.checks.probe import Probe
from rnnx.checks.truth_source import source_from_weights
from rnnx.cli.render import print_table
from rnnx.parity.results import CheckName, CheckResult
from rnnx.runners.candidates import SessionCandidate
from rnnx.truths.model_cases import CaseSource
from rnnx.truths.torch_reference import TorchReference
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.named_tensors import Checkpoint
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import choose_module, read_weights

PROPERTIES: tuple[CheckName, ...] = ("padding", "batch-order", "batch-mates", "batch-split", "streaming")
HIDDEN = (8, 33, 64, 256)
TRAINED = Path(__file__).parents[1] / "models"
FACTORIES: dict[str, Any] = {
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "RNN tanh": nn.RNN,
    "RNN relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
CELLS: dict[str, Any] = {
    "LSTM": nn.LSTMCell,
    "GRU": nn.GRUCell,
    "RNN tanh": nn.RNNCell,
    "RNN relu": lambda size, hidden: nn.RNNCell(size, hidden, nonlinearity="relu"),
}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What is exported: its group in the table, its name, its weights and how."""

    group: str
    name: str
    source: nn.Module | Path
    options: rnnx.ExportOptions = field(default_factory=rnnx.ExportOptions)


def main() -> None:
    """Check every layer, write down what each group gave, and print it."""
    torch.set_num_threads(1)
    found: dict[tuple[str, str, CheckName], list[CheckResult]] = defaultdict(list)
    worst: list[dict[str, Any]] = []
    for layer in [*_layers(), *_cells(), *_projected(), *_trained()]:
        for check in _checked(layer):
            found[layer.group, check.backend, check.check].append(check)
            if check.bitwise is False:
                worst.append(_apart(layer, check))
    groups = dict.fromkeys((group, backend) for group, backend, _ in found)
    rows = [(group, backend, *(_cell(found[group, backend, name]) for name in PROPERTIES)) for group, backend in groups]
    figures = {
        "threads": 1,
        "rows": [dict(zip(("group", "backend", *PROPERTIES), row, strict=True)) for row in rows],
        "apart": worst,
    }
    write_result("metamorphic_bits", "python benchmarks/metamorphic_bits.py", figures)
    print_table("properties: bitwise, or the largest share of the bound", ("layers", "backend", *PROPERTIES), rows)


def _layers() -> Iterator[Layer]:
    for (kind, make), hidden, layers, both in product(FACTORIES.items(), HIDDEN, (1, 2), (False, True)):
        name = f"{kind}, H = {hidden}, {layers} layers, {1 + both} directions"
        torch.manual_seed(hidden)
        module = make(hidden, hidden, num_layers=layers, bidirectional=both)
        yield Layer(group=kind, name=name, source=module, options=rnnx.ExportOptions(lengths=True))


def _cells() -> Iterator[Layer]:
    for (kind, make), hidden in product(CELLS.items(), HIDDEN):
        torch.manual_seed(hidden)
        yield Layer(group=f"{kind} cell", name=f"{kind} cell, H = {hidden}", source=make(hidden, hidden))


def _projected() -> Iterator[Layer]:
    """Layers that are written as a Scan, as ONNX has no operator for them."""
    for hidden, layers, both in product(HIDDEN, (1, 2), (False, True)):
        name = f"projected LSTM, H = {hidden}, {layers} layers, {1 + both} directions"
        torch.manual_seed(hidden)
        module = nn.LSTM(hidden, hidden, num_layers=layers, bidirectional=both, proj_size=hidden // 2)
        options = rnnx.ExportOptions(lengths=True)
        yield Layer(group="projected LSTM (Scan)", name=name, source=module, options=options)


def _trained() -> Iterator[Layer]:
    for path in sorted(TRAINED.glob("*/model.safetensors")):
        for name in ("encoder", "decoder"):
            options = rnnx.ExportOptions(
                module=name, lengths=name == "encoder", form="step" if name == "decoder" else None
            )
            yield Layer(group="trained", name=f"{path.parent.name}, {name}", source=path, options=options)


def _checked(layer: Layer) -> Iterator[CheckResult]:
    """The checks of both backends, but for those that do not apply."""
    if isinstance(layer.source, nn.Module):
        checkpoint: Checkpoint = TorchCheckpoint("module", layer.source.state_dict())
    else:
        checkpoint = open_checkpoint(layer.source)
    weights = read_weights(checkpoint, choose_module(checkpoint, layer.options.module))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        contract = rnnx.export(layer.source, path, layer.options).contract
        own = contract.layer()
        plan = plan_checks(
            CaseSource(contract=contract, example={}), "full", source_from_weights(weights, own), drift_steps=100
        )
        for candidate in (SessionCandidate("ort-cpu", path, 1), TorchReference(weights, own)):
            probe = Probe(candidate=candidate, contract=contract, precision="float32", outputs=contract.outputs)
            yield from (
                check for check in run_checks(probe, plan) if check.check in PROPERTIES and check.status != "skip"
            )
            candidate.close()


def _apart(layer: Layer, check: CheckResult) -> dict[str, Any]:
    share = round(check.max_difference / check.limit, 3) if check.max_difference and check.limit else None
    return {
        "layer": layer.name,
        "backend": check.backend,
        "check": check.check,
        "status": check.status,
        "difference": check.max_difference,
        "share": share,
    }


def _cell(checks: Sequence[CheckResult]) -> str:
    """The whole group in the table's words."""
    checks = [check for check in checks if check.bitwise is not None]  # a step in turns has but a float64 truth
    if not checks:
        return "–"
    if any(check.status == "fail" for check in checks):
        return "fails"
    apart = [check for check in checks if not check.bitwise]
    if not apart:
        return "bitwise"
    share = max((check.max_difference or 0.0) / (check.limit or 1.0) for check in apart)
    difference = max(check.max_difference or 0.0 for check in apart)
    return f"≤ {share:.2f} of the bound ({difference:.0e})"


if __name__ == "__main__":
    main()
