"""Attributes that backends refuse, or ignore without a word, such as `layout` and `lstm-clip`.

What TensorRT makes of each was found by evaluating, layer by layer, the network that its ONNX importer builds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import ORT_CPU, TENSORRT
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.recurrences import Recurrence


@dataclass(frozen=True, kw_only=True)
class _Attribute:
    """When an attribute is a trap, what happens on which backend, what to write instead."""

    rule: str
    applies: Callable[[Recurrence], bool]
    message: str
    fix: str
    backends: tuple[str, ...]


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every recurrent node with such an attribute."""
    for layer in model.layers:
        for trap in _TRAPS:
            if trap.applies(layer):
                yield Finding(
                    rule=trap.rule,
                    severity="error",
                    node=layer.shown,
                    message=trap.message,
                    fix=trap.fix,
                    backends=trap.backends,
                )


def _lacks_parameters(layer: Recurrence) -> bool:
    """Whether an activation with parameters is given none, so that ONNX's own defaults are meant."""
    names = {name.lower() for name in layer.attributes.get("activations", ())}
    given = "activation_alpha" in layer.attributes and "activation_beta" in layer.attributes
    only_alpha = names <= {b"thresholdedrelu", b"tanh", b"sigmoid", b"relu"} and "activation_alpha" in layer.attributes
    return bool(names & {b"thresholdedrelu", b"scaledtanh"}) and not given and not only_alpha


def _has_affine(layer: Recurrence) -> bool:
    return any(name.lower() == b"affine" for name in layer.attributes.get("activations", ()))


def _has_softplus(layer: Recurrence) -> bool:
    return any(name.lower() == b"softplus" for name in layer.attributes.get("activations", ()))


_TRAPS = (
    _Attribute(
        rule="layout",
        applies=lambda layer: layer.has_layout,
        message="layout=1, which TensorRT ignores: it takes the batch for the time; ONNX Runtime on CPU refuses it",
        fix="transpose x inside the graph, as rnnx export --batch-first does",
        backends=(*ORT_CPU, *TENSORRT),
    ),
    _Attribute(
        rule="lstm-clip",
        applies=lambda layer: layer.operator == "LSTM" and "clip" in layer.attributes,
        message="clip on an LSTM, where TensorRT also clips the cell state on its way into h, as ONNX's page says, and "
        "ONNX Runtime clips the gates alone: two backends give two results",
        fix="leave clip out; PyTorch has none",
        backends=TENSORRT,
    ),
    _Attribute(
        rule="softplus",
        applies=_has_softplus,
        message="the activation Softplus, which TensorRT evaluates with alpha = beta = 0, that is as 0",
        fix="use another activation, or write the recurrence out with the operator Softplus, which is right",
        backends=TENSORRT,
    ),
    _Attribute(
        rule="activation-parameters",
        applies=_lacks_parameters,
        message="ThresholdedRelu or ScaledTanh without alpha and beta, which TensorRT evaluates with 0 for both",
        fix="write activation_alpha and activation_beta out, or use another activation",
        backends=TENSORRT,
    ),
    _Attribute(
        rule="affine",
        applies=_has_affine,
        message="the activation Affine, which TensorRT refuses",
        fix="use another activation, or write the recurrence out",
        backends=TENSORRT,
    ),
    _Attribute(
        rule="input-forget",
        applies=lambda layer: bool(layer.attributes.get("input_forget")),
        message="input_forget=1, which TensorRT refuses",
        fix="write the coupled gate out step by step, or train without it",
        backends=TENSORRT,
    ),
)
