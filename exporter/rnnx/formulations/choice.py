"""Which formulation a module's recurrence is written in, and the formulations by name."""

from importlib import import_module
from typing import TYPE_CHECKING

from rnnx.weights.recurrence import RecurrentModule
from rnnx_runtime.contract import Form

if TYPE_CHECKING:
    from rnnx.formulations.graph import Formulation

_MODULES = {
    "frame": "rnnx.formulations.frame",
    "fused": "rnnx.formulations.fused",
    "scan": "rnnx.formulations.scan",
    "gemm-gates": "rnnx.formulations.step",
    "unrolled-hoisted": "rnnx.formulations.unrolled",
}


def formulation_name(module: RecurrentModule, form: Form) -> str:
    """The formulation of a module in a form: the fused operator where ONNX has one, which is not with a projection."""
    if form == "step":
        return "gemm-gates"
    if form == "unrolled":
        return "unrolled-hoisted"
    return "scan" if module.is_projected else "fused"


def formulation_named(name: str) -> "Formulation":
    """The function that builds a formulation's graph; imported here, for it needs spox."""
    build: Formulation = import_module(_MODULES[name]).build
    return build
