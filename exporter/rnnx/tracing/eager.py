"""The model as PyTorch runs it, nothing patched: the truth that an export is held against."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnnx.tracing.float_dtypes import in_dtype, reading_floats
from rnnx.tracing.layer_states import LiftedState, recurrent_layers
from rnnx.tracing.precision_scopes import without_autocast
from rnnx.tracing.random_numbers import MeansOfRandomNumbers
from rnnx.tracing.scripted_code import python_functions
from rnnx.tracing.signature import CallSignature, named_outputs
from rnnx.tracing.turns import own_turn

Array = NDArray[Any]


class EagerModel:
    """A model called with arrays by the contract's names, in float32 or in float64."""

    def __init__(
        self,
        module: nn.Module,
        signature: CallSignature,
        *,
        output_names: Sequence[str] | None = None,
        lifted: tuple[LiftedState, ...] = (),
    ) -> None:
        self._modules = {torch.float32: module}
        self._signature = signature
        self._output_names = output_names
        self._lifted = lifted

    def outputs(self, feeds: Mapping[str, Array], dtype: torch.dtype) -> dict[str, Array]:
        """Every output of the contract, states included; floats are of `dtype`, integers and booleans as they are.

        Raises whatever the model itself raises for inputs that it cannot take.
        """
        tensors = {name: _tensor(value, dtype) for name, value in feeds.items()}
        module = self.module(dtype)
        with (
            own_turn(),
            without_autocast(),
            python_functions(),
            torch.no_grad(),
            _default_dtype(dtype),
            reading_floats(module, dtype),
            MeansOfRandomNumbers(),
            given_states(module, self._lifted, tensors) as last,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            result = self._signature.call(module, [tensors[name] for name in self._signature.names])
            found = named_outputs(result, self._output_names) | last
        return {name: np.array(value.detach().cpu().numpy()) for name, value in found.items()}

    def module(self, dtype: torch.dtype) -> nn.Module:
        """The module in this dtype, in evaluation mode."""
        if dtype not in self._modules:
            self._modules[dtype] = in_dtype(self._modules[torch.float32], dtype)
        return self._modules[dtype]


@contextmanager
def given_states(
    module: nn.Module, lifted: tuple[LiftedState, ...], tensors: Mapping[str, Tensor]
) -> Iterator[dict[str, Tensor]]:
    """Give lifted layers their states from `tensors` inside the block, and collect their last ones by output name."""
    layers, last, hooks = recurrent_layers(module), dict[str, Tensor](), []
    for state in lifted:
        given = tuple(tensors[pair.input] for pair in state.pairs)
        layer = layers[state.layer]
        hooks.append(layer.register_forward_pre_hook(_giver(given), with_kwargs=True))
        hooks.append(layer.register_forward_hook(_taker(state, last)))
    try:
        yield last
    finally:
        for hook in hooks:
            hook.remove()


def _giver(given: tuple[Tensor, ...]) -> Callable[..., Any]:
    def give(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = args[0] if args else kwargs["input"]
        return (x, given if len(given) == 2 else given[0]), {}

    return give


def _taker(state: LiftedState, last: dict[str, Tensor]) -> Callable[..., None]:
    def take(layer: nn.Module, _: tuple[Any, ...], result: Any) -> None:
        hidden = result if isinstance(layer, nn.RNNCellBase) else result[1]
        values = hidden if isinstance(hidden, tuple) else (hidden,)
        last.update({pair.output: value for pair, value in zip(state.pairs, values, strict=True)})

    return take


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _tensor(value: Array, dtype: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(np.array(value))  # a copy, for forward may write into its inputs
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
