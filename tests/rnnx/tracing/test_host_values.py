import torch
from tests.rnnx.tracing.traced_forward import run, traced
from torch import Tensor, nn

from rnnx.tracing.host_values import host_values


def _masked(x: Tensor) -> Tensor:
    scores = x * 2
    scores.data.masked_fill_(x > 0, -1e4)
    return scores.softmax(-1)


def test_what_is_written_into_data_is_seen() -> None:
    program = traced(_masked, torch.randn(2, 9), host_values(nn.Module()))
    x = torch.randn(3, 4)
    torch.testing.assert_close(run(program, x), _masked(x))


def test_tensors_are_as_they_were() -> None:
    x = torch.ones(3)
    with host_values(nn.Module()):
        assert x.data.data_ptr() == x.data_ptr()
        x.data = torch.zeros(2)
    assert x.shape == x.data.shape == (2,)
    assert "data" not in vars(Tensor)
