"""Which axes of the inputs a model takes at other sizes, found by running it, and with which its layers' sizes move."""

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from rnnx.tracing.preparation import preserved
from rnnx.tracing.signature import CallSignature
from rnnx.tracing.states.layer_states import watched_layers
from rnnx.tracing.states.packed_states import checked_packed_states

Axis = tuple[int, int]
"""An input's place, and the axis."""

_MOST_TOGETHER = 6
"""Of more axes of one size not every choice is tried, for each is a run of the model."""

_GROWN: tuple[Callable[[int], int], ...] = (lambda size: size + 1, lambda size: 2 * size)
"""Other sizes: the next, and one that whatever divides the example's divides too."""


@dataclass(frozen=True, kw_only=True)
class AxisTrials:
    """The axes that the model took at another size; `moving` those that a layer's batch ("B") or time ("T") follows."""

    taken: frozenset[Axis]
    moving: Mapping[Axis, str]


@dataclass(frozen=True)
class _Run:
    """The sizes of the sequences that recurrent layers took, call by call, and the ranks of the results."""

    layers: tuple[tuple[int, int], ...]
    ranks: tuple[int, ...]

    def role(self, other: "_Run") -> str:
        """Which of the layers' sizes differ between two runs; empty where none does."""
        if len(self.layers) != len(other.layers):
            return "T"  # one layer called for each step
        times = any(one[1] != two[1] for one, two in zip(self.layers, other.layers, strict=True))
        batches = any(one[0] != two[0] for one, two in zip(self.layers, other.layers, strict=True))
        return "T" if times else "B" if batches else ""


def axis_trials(
    module: nn.Module, signature: CallSignature, tensors: Sequence[Tensor], free: Sequence[Sequence[int]]
) -> AxisTrials:
    """Run the model with axes made longer, those of one size in the example together and apart.

    Args:
        module: the model in float32.
        signature: how it is called.
        tensors: the example's.
        free: the axes to try.
    """
    taken, moving = set[Axis](), dict[Axis, str]()
    with preserved(module):
        own = _run(module, signature, tensors)
        if own is None:
            return AxisTrials(taken=frozenset(), moving={})

        def role_of(axes: tuple[Axis, ...], size: int) -> str | None:
            return _role(module, signature, tensors, axes, size, own)

        for size, axes in _by_size(tensors, free).items():
            for chosen in _choices(axes):
                role = None if taken.intersection(chosen) else role_of(chosen, size)
                if role is None:
                    continue
                taken.update(chosen)
                for axis in chosen if role else ():
                    others = tuple(other for other in chosen if other != axis)
                    # An axis that the others move without, and that moves nothing, has their size by chance.
                    if not others or role_of(others, size) != role or role_of((axis,), size) != "":
                        moving[axis] = role
    return AxisTrials(taken=frozenset(taken), moving=moving)


def _role(
    module: nn.Module, signature: CallSignature, tensors: Sequence[Tensor], axes: Sequence[Axis], size: int, own: _Run
) -> str | None:
    """What of the layers these axes move, empty where nothing; None where the model does not take them longer."""
    found = (_grown(module, signature, tensors, axes, grow(size), own) for grow in _GROWN)
    roles = (None if other is None else own.role(other) for other in found)
    first = next(roles, None)
    return first or next(roles, None) or first  # strides and padding may take one more for the same


def _by_size(tensors: Sequence[Tensor], free: Sequence[Sequence[int]]) -> dict[int, list[Axis]]:
    found: dict[int, list[Axis]] = {}
    for place, (tensor, axes) in enumerate(zip(tensors, free, strict=True)):
        for axis, is_free in enumerate(axes):
            if is_free:
                found.setdefault(tensor.shape[axis], []).append((place, axis))
    return found


def _choices(axes: Sequence[Axis]) -> Iterator[tuple[Axis, ...]]:
    """The axes together, then fewer of them, down to each alone; of many the first axes of all inputs, and so on."""
    if len(axes) <= _MOST_TOGETHER:
        for count in range(len(axes), 0, -1):
            yield from itertools.combinations(axes, count)
        return
    yield tuple(axes)
    for number in sorted({axis for _, axis in axes}):
        yield tuple(own for own in axes if own[1] == number)
    yield from ((own,) for own in axes)


def _grown(
    module: nn.Module, signature: CallSignature, tensors: Sequence[Tensor], axes: Sequence[Axis], size: int, own: _Run
) -> _Run | None:
    """The run with these axes of another size; None where the model fails, or gives results of other ranks."""
    values = list(tensors)
    for place, axis in axes:
        values[place] = values[place].index_select(axis, torch.arange(size) % values[place].shape[axis])
    found = _run(module, signature, values)
    return found if found is not None and found.ranks == own.ranks else None


def _run(module: nn.Module, signature: CallSignature, tensors: Sequence[Tensor]) -> _Run | None:
    layers: list[tuple[int, int]] = []

    def record(_: str, layer: nn.Module, given: Mapping[str, Any]) -> None:
        layers.append(_batch_and_time(layer, given["input"]))

    watched = watched_layers(module, record)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings(), watched:
        torch.manual_seed(0)
        warnings.simplefilter("ignore")
        try:
            with checked_packed_states(module):
                result = signature.call(module, [tensor.clone() for tensor in tensors])
        except Exception:  # the model's own, which may raise anything at sizes that it does not take
            return None
    ranks = tuple(leaf.dim() for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor))
    return _Run(tuple(layers), ranks)


def _batch_and_time(layer: nn.Module, x: Tensor | PackedSequence) -> tuple[int, int]:
    """The sizes of a sequence, or of a cell's step; 1 for what it does not have."""
    if isinstance(x, PackedSequence):
        return int(x.batch_sizes[0]), len(x.batch_sizes)
    if isinstance(layer, nn.RNNCellBase):
        return (x.shape[0] if x.dim() == 2 else 1), 1
    if x.dim() == 2:
        return 1, x.shape[0]
    return (x.shape[0], x.shape[1]) if layer.batch_first else (x.shape[1], x.shape[0])
