"""The model as PyTorch runs it, nothing patched: the truth that an export is held against."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnx.tracing.operators.float_dtypes import in_dtype, reading_floats
from rnnx.tracing.operators.precision_scopes import without_autocast
from rnnx.tracing.operators.random_numbers import MeansOfRandomNumbers
from rnnx.tracing.operators.scripted_code import python_functions
from rnnx.tracing.signature import CallSignature, named_outputs
from rnnx.tracing.states.kept_tensors import kept_tensors, placed_tensors
from rnnx.tracing.states.layer_states import as_states, recurrent_layers
from rnnx.tracing.states.lifted_states import LiftedStates, StateHandover
from rnnx.tracing.states.packed_states import checked_packed_states
from rnnx.tracing.turns import own_turn
from rnnx_runtime.array_type import Array


class EagerModel:
    """A model called with arrays by the contract's names, in float32 or in float64."""

    def __init__(
        self,
        module: nn.Module,
        signature: CallSignature,
        *,
        output_names: Sequence[str] | None = None,
        lifted: LiftedStates | None = None,
    ) -> None:
        self._modules = {torch.float32: module}
        self._signature = signature
        self._output_names = output_names
        self._lifted = lifted or LiftedStates()

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
            checked_packed_states(module),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            call = StatefulCall(module, self._signature, self._output_names, self._lifted)
            found = call.outputs(tensors)
        return {name: np.array(value.detach().cpu().numpy()) for name, value in found.items()}

    def module(self, dtype: torch.dtype) -> nn.Module:
        """The module in this dtype, in evaluation mode."""
        if dtype not in self._modules:
            self._modules[dtype] = in_dtype(self._modules[torch.float32], dtype)
        return self._modules[dtype]


class StatefulCall:
    """A call of a module whose lifted states are values: given before, and taken by output name afterwards."""

    def __init__(
        self, module: nn.Module, signature: CallSignature, output_names: Sequence[str] | None, lifted: LiftedStates
    ) -> None:
        self._module, self._signature, self._names, self._lifted = module, signature, output_names, lifted

    def outputs(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every output by name, states included; `tensors` has all inputs.

        What a loop in Python carries can be given to the rolled program alone, which runs in the module's place; where
        the loops begin as they do in the module, the module itself gives the results.
        """
        carried = self._lifted.carried
        if carried is None:
            return self.called(tensors)
        found = carried.run(self._module, tensors)
        return found | self.called(tensors) if carried.is_start(tensors) else found

    def called(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the module itself gives: its loops begin as always, and their states are no results."""
        handover = StateHandover(self._lifted, self._lifted.given(tensors))
        hooks = []
        for name in {own.layer for own in self._lifted.layers}:
            layer = recurrent_layers(self._module)[name]
            hooks.append(layer.register_forward_pre_hook(_giver(name, handover), with_kwargs=True))
            hooks.append(layer.register_forward_hook(_taker(name, handover)))
        try:
            with placed_tensors(self._module, self._lifted.placed(tensors), self._lifted.holders):
                result = self._signature.call(self._module, [tensors[name] for name in self._signature.names])
                last = handover.last(kept_tensors(self._module) if self._lifted.kept else {})
                return named_outputs(result, self._names) | last
        finally:
            for hook in hooks:
                hook.remove()


def _giver(name: str, handover: StateHandover) -> Callable[..., Any]:
    def give(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        values = dict(zip(("input", "hx"), args, strict=False)) | kwargs
        state = handover.start(name, as_states(values.get("hx")))
        hidden = state[0] if state is not None and len(state) == 1 else state
        return (values["input"], hidden), {}

    return give


def _taker(name: str, handover: StateHandover) -> Callable[..., None]:
    def take(layer: nn.Module, _: tuple[Any, ...], result: Any) -> None:
        handover.end(name, as_states(result if isinstance(layer, nn.RNNCellBase) else result[1]) or ())

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
