"""`openvino-lengths` and `tract-relu`: what runtimes that rnnx does not run itself make of a right file.

Seen with OpenVINO 2026.4.1 (errors to 3.3, none at fixed sizes) and with tract 0.23.9 (errors of 1.4, none with Tanh).
"""

from collections.abc import Iterator

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import OPENVINO, TRACT
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.recurrences import Recurrence


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Layers with lengths over free sizes, and plain RNNs with a ReLU."""
    for layer in model.layers:
        dims = layer.scope.dims(layer.x)
        if layer.sequence_lens and (dims is None or None in dims[:2]):
            yield Finding(
                rule="openvino-lengths",
                severity="info",
                node=layer.shown,
                message="sequence_lens over free sizes, which OpenVINO ignores without a word: padding runs through",
                fix="nothing for other backends; for OpenVINO fix the sizes, or run rows of one length",
                backends=OPENVINO,
            )
        if _has_relu(layer):
            yield Finding(
                rule="tract-relu",
                severity="info",
                node=layer.shown,
                message="an RNN with Relu, which tract computes as another activation without a word",
                fix="nothing for other backends; for tract write the recurrence out, or use Tanh",
                backends=TRACT,
            )


def _has_relu(layer: Recurrence) -> bool:
    names = {name.lower() for name in layer.attributes.get("activations", ())}
    return layer.operator == "RNN" and b"relu" in names
