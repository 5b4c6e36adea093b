"""What the toolkit's tests share: the outputs of a PyTorch module, by the names of a contract."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnx_runtime import Contract

Array = NDArray[Any]


@pytest.fixture
def torch_outputs() -> Callable[..., dict[str, Array]]:
    """`torch_outputs(module, contract, feeds, dtype)`: what PyTorch computes for a contract's inputs."""
    return torch_values


def torch_values(
    module: nn.Module, contract: Contract, feeds: Mapping[str, Array], dtype: torch.dtype
) -> dict[str, Array]:
    """PyTorch's outputs by the contract's names, computed in `dtype`; the module is float32 before and after."""
    x, *first = (torch.from_numpy(feeds[name]).to(dtype) for name in ("x", "h0", "c0") if name in feeds)
    state: Any = None if not first else tuple(first) if contract.layer().cell == "lstm" else first[0]
    module.to(dtype)
    try:
        with torch.no_grad():
            if contract.layer().form == "encoder":
                output, last = _encode(module, contract, x, state, feeds.get("lengths"))
            else:
                output, last = _decode(module, contract, x, state)
    finally:
        module.float()
    states = last if contract.layer().cell == "lstm" else (last,)
    values = dict(zip(("output", "hn", "cn"), (output, *states), strict=False))
    return {spec.name: np.asarray(values[spec.name]) for spec in contract.outputs}


def _encode(module: nn.Module, contract: Contract, x: Any, state: Any, lengths: Array | None) -> tuple[Any, Any]:
    """The sequence's outputs and the last state, of packed sequences where there are lengths."""
    if lengths is None:
        output, last = module(x, state)
        return output, last
    batch_first = contract.layer().batch_first
    packed = pack_padded_sequence(x, torch.from_numpy(lengths).long(), batch_first=batch_first, enforce_sorted=False)
    output, last = module(packed, state)
    time = x.shape[1 if batch_first else 0]
    return pad_packed_sequence(output, batch_first=batch_first, total_length=time)[0], last


def _decode(module: nn.Module, contract: Contract, x: Any, state: Any) -> tuple[Any, Any]:
    """The outputs of a cell's steps and its last state; a single step's `x (B, I)` is one of them."""
    outputs = []
    for now in x if contract.layer().form == "unrolled" else [x]:
        state = module(now, state)
        outputs.append(state[0] if contract.layer().cell == "lstm" else state)
    return torch.stack(outputs), state
