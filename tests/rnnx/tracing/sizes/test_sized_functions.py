from collections.abc import Callable

import pytest
import torch
from tests.rnnx.tracing.traced_forward import run, traced
from torch import Tensor

from rnnx.tracing.sizes.sized_functions import sized_functions

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linspace": lambda x: torch.linspace(-1, 2.5, x.size(1)),
    "linspace-doubles": lambda x: torch.linspace(0, 1, x.size(1) + 1, dtype=torch.float64),
    "linspace-whole": lambda x: torch.linspace(0, 10, x.size(1), dtype=torch.int64),
    "logspace": lambda x: torch.logspace(0, 2, x.size(1)),
    "logspace-base": lambda x: torch.logspace(0, 2, x.size(1), base=2.0),
    "split": lambda x: torch.cat([part.mean(1, keepdim=True) for part in torch.tensor_split(x, 2, dim=1)], 1),
    "split-method": lambda x: x.tensor_split(3, -2)[1],
    "split-places": lambda x: torch.cat([part.sum(1) for part in x.tensor_split((1, x.size(1) // 2), dim=1)], -1),
    "along": lambda x: torch.take_along_dim(x, x.argsort(1), 1),
    "along-broadcast": lambda x: x.take_along_dim(torch.zeros(1, 2, 1, dtype=torch.long), 1),
    "along-rows": lambda x: torch.take_along_dim(x, (x[:, 0, 0] > 0).long().reshape(-1, 1, 1), dim=1),
    "along-all": lambda x: x.take_along_dim(x.reshape(-1).argsort()),
    "kron": lambda x: torch.kron(x, torch.ones(1, 1, 2).cumsum(-1)),
    "kron-lower-rank": lambda x: x.kron(torch.ones(2).cumsum(-1)),
    "new-tensor": lambda x: x / x.new_tensor([x.size(0), x.size(1) + 0.5, 2, 3]),
    "hann": lambda x: torch.hann_window(x.size(1)),
    "hann-symmetric": lambda x: torch.hann_window(x.size(1), periodic=False),
    "hamming": lambda x: torch.hamming_window(x.size(1), True, 0.5, 0.4),
    "blackman": lambda x: torch.blackman_window(x.size(1)),
    "bartlett": lambda x: torch.bartlett_window(x.size(1)),
    "bartlett-symmetric": lambda x: torch.bartlett_window(x.size(1), False, dtype=torch.float64),
}


def _denoised(x: Tensor) -> Tensor:
    spectrum = torch.stft(x, 8, 2, window=torch.hann_window(8), return_complex=True)
    return torch.istft(spectrum, 8, 2, window=torch.hann_window(8), length=x.size(-1))


def test_a_signal_is_as_long_as_the_one_that_it_was_made_of() -> None:
    program = traced(_denoised, torch.randn(2, 31), sized_functions())
    for shape in ((3, 32), (1, 57), (2, 16)):
        x = torch.randn(shape)
        torch.testing.assert_close(run(program, x), x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_function_leaves_its_sizes_free_and_gives_pytorchs_values(function: Callable[[Tensor], Tensor]) -> None:
    program = traced(function, torch.randn(2, 9, 4), sized_functions())
    for shape in ((3, 8, 4), (2, 5, 4), (1, 2, 4), (4, 31, 4)):
        x = torch.randn(shape)
        torch.testing.assert_close(run(program, x), function(x))


@pytest.mark.parametrize(
    "name", [name for name in FUNCTIONS if name.startswith(("linspace", "logspace", "hann", "ba"))]
)
def test_one_place_alone_is_pytorchs(name: str) -> None:
    program = traced(FUNCTIONS[name], torch.randn(2, 9, 4), sized_functions())
    x = torch.randn(1, 1, 4)
    torch.testing.assert_close(run(program, x), FUNCTIONS[name](x))


def test_pytorch_is_as_it_was_and_its_own_for_numbers() -> None:
    before = torch.linspace, Tensor.tensor_split
    with sized_functions():
        assert torch.linspace is not before[0]
        assert torch.equal(torch.linspace(0, 1, 7), before[0](0, 1, 7))
    assert (torch.linspace, Tensor.tensor_split) == before
