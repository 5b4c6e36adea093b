"""What every export reports, whatever it was made of."""

from dataclasses import dataclass
from pathlib import Path

from rnnx_runtime.contract import Contract


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a graph of `steps` steps will have and cost: `build_s` and `plan_bytes` are TensorRT's."""

    steps: int
    nodes: int
    onnx_bytes: int
    build_s: float
    plan_bytes: int


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written: both files, the contract, nodes by operator, the checks that ran, and what to know of it.

    `source` and `weights` say where the model and its weights came from, as far as a file or a factory gave them;
    `forecast` is what an unrolled decoder's engine will cost.
    """

    path: Path
    golden: Path
    contract: Contract
    nodes: dict[str, int]
    bytes: int
    checks: tuple[str, ...]
    notes: tuple[str, ...] = ()
    source: str = ""
    weights: str = ""
    forecast: Forecast | None = None
