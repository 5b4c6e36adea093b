import torch
from torch import nn

from rnnx.tracing.states.kept_tensors import TensorPlace, holders_of, kept_tensors, placed_tensors, restored_values


class _Memory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("buffer", torch.zeros(2))
        self.hidden = (torch.zeros(2), {"c": torch.zeros(2)})


def test_kept_tensors_are_buffers_and_attributes_by_place() -> None:
    names = [place.name for place in kept_tensors(nn.Sequential(_Memory()))]
    assert names == ["0.buffer", "0.hidden[0]", "0.hidden[1]['c']"]


def test_tensors_are_put_into_their_places_and_taken_out_again() -> None:
    module = _Memory()
    before, place = module.hidden, TensorPlace("", "hidden", (1, "c"))
    with placed_tensors(module, {place: torch.ones(2)}, holders_of(module, [place])):
        assert bool((kept_tensors(module)[place] == 1).all())
    assert module.hidden is before


def test_what_is_written_in_place_is_undone() -> None:
    module = _Memory()
    with restored_values(module):
        module.get_buffer("buffer").add_(1)
    assert bool((module.get_buffer("buffer") == 0).all())
