from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from torch import Tensor, nn

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


class Layers(nn.Module):
    """Two recurrent layers, a table of queries, and a forward of the test's."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.time, self.own = nn.GRU(12, 6, batch_first=True), nn.GRU(3, 6, batch_first=True)
        self.queries = nn.Parameter(torch.randn(1, 8, 3))
        self._forward = forward

    def forward(self, **inputs: Tensor) -> Any:
        return self._forward(self, **inputs)


def _bands(self: Any, x: Tensor) -> Any:
    batch, time = x.shape[:2]
    bands = self.own(x.view(batch * time, 4, 3))[0]
    return self.time(bands.reshape(batch, time, 2, 12).sum(2))[0]


def _queries(self: Any, x: Tensor) -> Any:
    assert x.size(2) == 4
    last = x.flatten(2).mean(1)[:, None, :6].transpose(0, 1)
    return self.own(self.queries.expand(x.size(0), -1, -1), last.contiguous())[0]


def _horizon(self: Any, x: Tensor, future: Tensor) -> Any:
    last = self.time(x.flatten(2))[1]
    return self.own(future + last[0, :, None, :3].repeat(1, 5, 1), last)[0]


def _looped(self: Any, x: Tensor, future: Tensor) -> Any:
    last = self.time(x.flatten(2))[1]
    return self.own(torch.stack([future[:, step] * 2 for step in range(future.size(1))], 1), last)[0]


def _inputs(batch: int, time: int, *, future: bool) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(batch * 100 + time)
    found = {"x": torch.randn(batch, time, 4, 3, generator=generator)}
    return found | ({"future": torch.randn(batch, 5, 3, generator=generator)} if future else {})


@pytest.mark.parametrize(
    ("forward", "fixed"),
    [(_bands, ["axis 2 of x is 4"]), (_queries, []), (_horizon, ["axis 1 of future is 5"])],
    ids=["bands", "queries", "horizon"],
)
def test_a_layer_over_the_models_own_axis_is_exported_and_noted(forward: Any, fixed: list[str], tmp_path: Path) -> None:
    module, future = Layers(forward).eval(), forward is _horizon
    report = export_model(module, _inputs(2, 9, future=future), tmp_path / "m.onnx", ModelOptions())
    assert report.contract.inputs[0].dims[:2] == ("B", "T" if forward is not _queries else "D1")
    assert [note.split(",")[0] for note in report.notes if note.startswith("axis")] == fixed
    for batch, time in ((1, 1), (3, 4)):
        inputs = _inputs(batch, time, future=future)
        found = onnx_outputs(report.path, {name: value.numpy() for name, value in inputs.items()})
        assert_as_close(list(found.values()), module, inputs, f"B={batch}, T={time}")


def test_a_loop_over_a_second_layers_time_leaves_it_free(tmp_path: Path) -> None:
    module = Layers(_looped).eval()
    report = export_model(module, _inputs(2, 9, future=True), tmp_path / "m.onnx", ModelOptions())
    assert isinstance(report.contract.inputs[1].dims[1], str)


class AttentiveStep(nn.Module):
    """One step of a decoder that looks at a memory: only the memory's time is anybody's sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.att, self.rnn = nn.Linear(6, 6), nn.GRU(6, 6, 2)

    def forward(self, x: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.einsum("bd,btd->bt", self.att(state[-1]), memory).softmax(-1)
        context = torch.einsum("bt,btd->bd", weights, memory)
        output, state = self.rnn((x + context).unsqueeze(0), state)
        return output[0], state


def test_one_step_of_a_decoder_is_no_frozen_time(tmp_path: Path) -> None:
    inputs = torch.randn(2, 6), torch.randn(2, 2, 6), torch.randn(2, 9, 6)
    contract = export_model(AttentiveStep().eval(), inputs, tmp_path / "m.onnx").contract
    assert contract.inputs[2].dims[0] == "B"
    assert isinstance(contract.inputs[2].dims[1], str)
