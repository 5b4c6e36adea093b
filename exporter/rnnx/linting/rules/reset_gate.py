"""`gru-reset-before` and `gru-forms-mixed`: a GRU that applies its reset gate where PyTorch does not.

https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html: `n = tanh(W x + b + r * (U h + c))`, the gate after
the recurrent product and its bias; ONNX's default, linear_before_reset=0, is `U (r * h)`.
"""

from collections.abc import Iterator

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.recurrences import Recurrence

_BEFORE = "linear_before_reset=0: the reset gate is applied before the recurrent product, PyTorch applies it after"


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every GRU of the form that its exporter cannot have meant, and two forms in one model."""
    grus = [layer for layer in model.layers if layer.operator == "GRU"]
    before = [layer for layer in grus if not layer.attributes.get("linear_before_reset")]
    if before and len(before) < len(grus):
        yield _mixed(before[0], len(before), len(grus))
    for layer in before:
        yield from _finding(model, layer)


def _finding(model: ExaminedModel, layer: Recurrence) -> Iterator[Finding]:
    match model.origin.exporter:
        case "torch-dynamo" | "torch-torchscript":
            yield Finding(
                rule="gru-reset-before",
                severity="error",
                node=layer.shown,
                message=f"{_BEFORE}, and torch.onnx wrote this file, whose nn.GRU has no such form (a defect of "
                "onnxscript 0.5.7 to 0.7.0): every backend gives other values without a word, off by about 0.1",
                fix="set linear_before_reset=1 on the node; or export it with rnnx export, or with a newer onnxscript",
            )
        case "keras":
            yield Finding(
                rule="gru-reset-before",
                severity="info",
                node=layer.shown,
                message=f"{_BEFORE}; right for a Keras model with reset_after=False",
                fix="nothing for that model; a GRU with reset_after=True needs linear_before_reset=1",
            )
        case _:
            yield Finding(
                rule="gru-reset-before",
                severity="warning",
                node=layer.shown,
                message=f"{_BEFORE}: a model trained with PyTorch gives other values on every backend, off by "
                "about 0.1",
                fix="if it was trained with PyTorch set linear_before_reset=1 on the node, or export it with rnnx "
                "export; verify it against the weights",
            )


def _mixed(layer: Recurrence, before: int, total: int) -> Finding:
    return Finding(
        rule="gru-forms-mixed",
        severity="warning",
        node=layer.shown,
        message=f"{before} of {total} GRU nodes apply the reset gate before the recurrent product and the others "
        "after: no framework trains both in one model",
        fix="compare each layer with the weights, then set linear_before_reset on the odd ones",
    )
