"""Cases joined into one ragged batch give what each gives alone; torch's seed 2 draws the weights."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from rnnx.exporting.exporter import export
from rnnx.formulations.export_options import ExportOptions
from rnnx.truths.cases import case_at
from rnnx.truths.joined_cases import join_cases, split_outputs
from rnnx.truths.reference import evaluate
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import choose_module, read_weights

SIZES = ((1, 2), (6, 1), (3, 3))


@pytest.mark.parametrize(
    ("build", "options"),
    [
        pytest.param(lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True), {"lengths": True}, id="lstm-2-bi"),
        pytest.param(lambda: nn.GRU(3, 4, bidirectional=True), {"batch_first": True}, id="gru-1-bi-batch-first"),
        pytest.param(lambda: nn.GRU(3, 4), {"stateful": False}, id="gru-1-zeros"),
        pytest.param(lambda: nn.LSTMCell(3, 4), {}, id="lstm-step"),
        pytest.param(lambda: nn.GRUCell(3, 4), {"form": "unrolled", "steps": 2}, id="gru-unrolled-2"),
    ],
)
def test_joined_cases_give_what_each_gives_alone(
    build: Callable[[], nn.Module], options: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    torch.manual_seed(2)
    module = build()
    path = tmp_path_factory.mktemp("joined") / "model.onnx"
    contract = export(module, path, ExportOptions(**options)).contract  # type: ignore[arg-type] # a table of options
    checkpoint = TorchCheckpoint("module", module.state_dict())
    weights = read_weights(checkpoint, choose_module(checkpoint, None))
    steps = contract.layer().steps or 1
    cases = [
        case_at(contract.layer(), time if contract.layer().form == "encoder" else steps, batch) for time, batch in SIZES
    ]
    joined = split_outputs(
        contract.layer(), cases, evaluate(weights, contract.layer(), join_cases(contract.layer(), cases))
    )
    for case, outputs in zip(cases, joined, strict=True):
        alone = evaluate(weights, contract.layer(), case.feeds)
        assert outputs.keys() == alone.keys()
        for name, value in alone.items():
            assert outputs[name].shape == value.shape
            np.testing.assert_allclose(outputs[name], value, rtol=0, atol=1e-14)
