from pathlib import Path

import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from tests.rnnx.tracing.small_models import sequence
from tests.rnnx.tracing.traced_forward import run, traced
from torch import Tensor, nn

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.sizes.even_chunks import even_chunks


class BothDirections(nn.Module):
    """A cell by hand over both directions in one batch, as speechbrain's LiGRU has it, and a layer over the result."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.gru = nn.Linear(8, 8), nn.Linear(5, 8), nn.GRU(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.outer(torch.cat([x, x.flip(1)], 0))
        h, states = steps.new_zeros(steps.size(0), 8), []
        for t in range(x.size(1)):
            h = torch.tanh(steps[:, t] + self.inner(h))
            states.append(h)
        forward, backward = torch.stack(states, 1).chunk(2, 0)
        result: Tensor = self.gru(torch.cat([forward, backward.flip(1)], 2))[0]
        return result


def test_two_directions_in_one_batch_are_parted_at_any_batch(tmp_path: Path) -> None:
    path, model = tmp_path / "m.onnx", BothDirections().eval()
    report = export_model(model, (sequence(3, 6),), path, ModelOptions(input_names=("x",)))
    assert report.contract.inputs[0].dims == ("B", "T", 5)
    for batch, time in ((1, 1), (2, 7), (5, 40)):
        x = sequence(batch, time)
        found = onnx_outputs(path, {"x": x.numpy()})
        assert_as_close(list(found.values()), model, {"x": x}, f"B={batch}, T={time}")


@pytest.mark.parametrize("parts", [2, 3])
def test_what_does_not_divide_evenly_is_pytorchs(parts: int) -> None:
    def halves(x: Tensor) -> Tensor:
        return torch.cat([own.flip(0) for own in torch.chunk(torch.cat([x] * parts), parts, dim=0)])

    program = traced(halves, torch.randn(3, 4), even_chunks())
    x = torch.randn(5, 4)
    assert torch.equal(run(program, x), halves(x))
    with even_chunks():
        assert [len(own) for own in torch.randn(5, 2).chunk(2)] == [3, 2]
