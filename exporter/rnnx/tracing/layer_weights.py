"""A live recurrent layer or cell as a formulation needs it: its sizes, and its weights as its next call would use them.

A parametrization (weight norm, spectral norm, a pruning mask) is resolved to the value that it gives, which is what
`forward` multiplies with and not what the state dict holds:
https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.weight_norm.html.
"""

from typing import TYPE_CHECKING, Any

from rnnx.formulations.choice import formulation_name
from rnnx.weights.recurrence import RecurrentModule, recurrence_from_module
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import RecurrentWeights, choose_module, read_weights
from rnnx_runtime.contract import Form, Recurrence

if TYPE_CHECKING:
    from torch import nn

_CELL_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

PRECISION = "float32"


def weights_from_layer(layer: "nn.Module", name: str) -> RecurrentWeights:
    """The effective float32 weights of an `nn.LSTM`, `nn.GRU`, `nn.RNN` or cell; `name` is its place in its model.

    Raises:
        WeightsError: a value is NaN, infinite or too large for float32.
        CheckpointError: the weights are on the meta device and have no values.
    """
    checkpoint = _checkpoint(layer, name)
    return read_weights(checkpoint, choose_module(checkpoint, name))


def module_of_layer(layer: "nn.Module", name: str) -> RecurrentModule:
    """The layer's kind and sizes."""
    return choose_module(_checkpoint(layer, name), name)


def recurrence_of_layer(
    layer: "nn.Module", name: str, *, state_inputs: bool, lengths: bool, over_time: bool = False
) -> Recurrence:
    """The layer as a formulation builds its graph from it: an encoder, or a step of a cell that is not `over_time`."""
    module = module_of_layer(layer, name)
    form: Form = "step" if module.is_cell and not over_time else "encoder"
    return recurrence_from_module(
        module,
        name=name,
        form=form,
        formulation=formulation_name(module, form),
        state_inputs=state_inputs,
        lengths=lengths,
        batch_first=bool(getattr(layer, "batch_first", False)),
        nonlinearity=nonlinearity_of(layer),
    )


def effective_tensors(model: "nn.Module") -> dict[str, Any]:
    """A model's named tensors, those of its recurrent layers as the next call would use them."""
    from torch import Tensor, nn

    tensors = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
            lead = f"{name}." if name else ""
            tensors = {key: value for key, value in tensors.items() if not key.startswith(lead)}
            tensors |= _layer_tensors(layer, name)
    return tensors


def nonlinearity_of(layer: "nn.Module") -> Any:
    """`tanh` or `relu` of an `nn.RNN` or `nn.RNNCell`; None of the others."""
    return getattr(layer, "nonlinearity", None)


def _checkpoint(layer: "nn.Module", name: str) -> TorchCheckpoint:
    return TorchCheckpoint(type(layer).__name__, _layer_tensors(layer, name))


def _layer_tensors(layer: "nn.Module", name: str) -> dict[str, Any]:
    _refresh(layer)
    values = {key: getattr(layer, key) for key in getattr(layer, "_flat_weights_names", _CELL_WEIGHTS)}
    lead = f"{name}." if name else ""
    return {f"{lead}{key}": value for key, value in values.items() if value is not None}


def _refresh(layer: "nn.Module") -> None:
    """Let the hooks of torch.nn.utils (weight norm of old, pruning) set the weights as they do before each call."""
    for hook in layer._forward_pre_hooks.values():
        if type(hook).__module__.startswith("torch.nn.utils."):
            hook(layer, ())
