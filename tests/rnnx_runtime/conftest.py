"""What the runtime's tests share: a contract to vary with `dataclasses.replace`."""

import pytest
from tests.contracts import contract_of

from rnnx_runtime import Contract
from rnnx_runtime.contract import Source


@pytest.fixture(scope="session")
def contract() -> Contract:
    """A two-layer bidirectional LSTM encoder with state inputs: I=10, H=4."""
    return contract_of(
        form="encoder",
        cell="lstm",
        input_size=10,
        hidden_size=4,
        projection_size=4,
        layers=2,
        directions=2,
        steps=None,
        batch_first=False,
        state_inputs=True,
        lengths=False,
        precision="float32",
        formulation="fused",
        source=Source(file="checkpoint.pt", module="encoder.rnn", weights_sha256="ab" * 32),
        versions={"rnnx": "0.1.0", "opset": "17"},
    )
