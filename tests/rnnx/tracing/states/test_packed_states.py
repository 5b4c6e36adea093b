import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnnx.tracing.states.packed_states import checked_packed_states


class _Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, num_layers=2, proj_size=3)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, torch.tensor([4, 2]))
        result: Tensor = self.lstm(packed, hx=(h, c))[1][0]
        return result


@pytest.mark.parametrize(("h", "c"), [((4, 2, 3), (2, 2, 8)), ((2, 2, 3), (2, 3, 8)), ((2, 2, 8), (2, 2, 8))])
def test_a_state_of_other_sizes_beside_a_packed_sequence_is_refused(h: tuple[int, ...], c: tuple[int, ...]) -> None:
    module = _Packed().eval()
    with checked_packed_states(module), pytest.raises(RuntimeError, match="Expected hidden"):
        module(torch.randn(4, 2, 5), torch.zeros(h), torch.zeros(c))


def test_the_layers_own_sizes_pass_and_no_hook_stays() -> None:
    module = _Packed().eval()
    with checked_packed_states(module):
        found = module(torch.randn(4, 2, 5), torch.zeros(2, 2, 3), torch.zeros(2, 2, 8))
    assert found.shape == (2, 2, 3)
    assert not module.lstm._forward_pre_hooks
