"""What the formulations' tests share: PyTorch's own results for a contract's inputs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnx_runtime import Contract

Array = NDArray[Any]


@pytest.fixture(scope="session")
def torch_outputs() -> Callable[..., dict[str, Array]]:
    """`torch_outputs(module, contract, feeds, dtype)`: the contract's outputs as PyTorch computes them in `dtype`."""
    return _torch_outputs


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """Layers this small are five times slower on two threads of a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _torch_outputs(
    module: nn.Module, contract: Contract, feeds: Mapping[str, Array], dtype: torch.dtype
) -> dict[str, Array]:
    tensors = {name: torch.from_numpy(value.copy()) for name, value in feeds.items()}
    states = tuple(tensors[name].to(dtype) for name in ("h0", "c0") if name in tensors)
    state = None if not states else states if contract.layer().cell == "lstm" else states[0]
    run = _encode if contract.layer().form == "encoder" else _decode
    with torch.no_grad():
        output, last = run(module.to(dtype), contract, tensors["x"].to(dtype), state, tensors.get("lengths"))
    module.to(torch.float32)
    h, c = last if isinstance(last, tuple) else (last, None)
    values = {"output": output, "hn": h, "cn": c}
    return {spec.name: np.asarray(values[spec.name].numpy()) for spec in contract.outputs}


def _encode(module: nn.Module, contract: Contract, x: Any, state: Any, lengths: Any) -> tuple[Any, Any]:
    if lengths is None:
        output, last = module(x, state)
        return output, last
    first = contract.layer().batch_first
    packed = pack_padded_sequence(x, lengths.long(), batch_first=first, enforce_sorted=False)
    output, last = module(packed, state)
    return pad_packed_sequence(output, batch_first=first, total_length=x.shape[1 if first else 0])[0], last


def _decode(module: nn.Module, contract: Contract, x: Any, state: Any, _: Any) -> tuple[Any, Any]:
    outputs = []
    for now in x[None] if contract.layer().form == "step" else x:
        state = module(now, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs), state
