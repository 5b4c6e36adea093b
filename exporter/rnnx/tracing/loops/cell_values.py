"""A step that PyTorch's cells compute too: their weights read off from its values, and proved by them in float64.

Formulas: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html, `GRUCell.html` and `RNNCell.html`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from rnnx.tracing.loops.rolled import Loop, State
from rnnx.tracing.loops.step_function import StepFunction

SEED, ROWS = 20260801, 24
RTOL, ATOL = 1e-9, 1e-10
"""In float64, where two ways to write the same equations differ by about 1e-15."""


@dataclass(frozen=True, kw_only=True)
class CellStep:
    """A step with the states h `(B, H)` and maybe c: what it reads of the sequence, and which places are activations.

    `inputs` are values `(B, I)` with their widths; side by side they are the cell's x.
    """

    function: StepFunction
    loop: Loop
    inputs: tuple[tuple[Any, int], ...]
    states: tuple[int, ...]
    hidden: int
    activations: tuple[int, ...]

    @property
    def width(self) -> int:
        """The width of x."""
        return sum(width for _, width in self.inputs)


def cell_of(step: CellStep) -> nn.RNNCellBase | None:
    """The cell of PyTorch in float64 that computes what the step does; None where none does."""
    recognise = _recurrent if len(step.states) == 1 else _lstm
    candidates: Iterator[nn.RNNCellBase] = recognise(_Probe(step))
    return next((own for own in candidates if _is_equal(step, own)), None)


class _Probe:
    """Reads off the affine functions of x and h that a step's activations are applied to."""

    def __init__(self, step: CellStep) -> None:
        self.step = step
        self.kinds = {place: step.loop.step[place].instruction.name for place in step.activations}
        self.widths = {place: int(step.loop.step[place].instruction.shape_of(None)[-1]) for place in step.activations}

    def of_kind(self, *kinds: str) -> list[int]:
        """The activations of these kinds, in order."""
        return [place for place, kind in self.kinds.items() if kind in kinds]

    def rows(self, places: Sequence[int]) -> int:
        """How many numbers these activations are applied to."""
        return sum(self.widths[place] for place in places)

    def reads(self, place: int, state: int) -> bool:
        """Whether what an activation is applied to depends on a state."""
        x, states = self._zeros(2)
        states[state][1] = 1.0
        first, second = self._sums([place], x, states, {})
        return not torch.equal(first, second)

    def affine(self, places: Sequence[int], gates: Mapping[int, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """W_ih `(K, I)`, W_hh `(K, H)` and the bias `(K)` of these activations; `gates` replace what others give."""
        width, hidden = self.step.width, self.step.hidden
        x, states = self._zeros(1 + width + hidden)
        x[1 : 1 + width] = torch.eye(width, dtype=torch.float64)
        states[self.step.states[0]][1 + width :] = torch.eye(hidden, dtype=torch.float64)
        found = self._sums(places, x, states, gates or {})
        bias = found[0]
        return (found[1 : 1 + width] - bias).T, (found[1 + width :] - bias).T, bias

    def gates(self, places: Sequence[int], values: Tensor) -> dict[int, Tensor]:
        """These activations' results where side by side they are `values (K)` in each row."""
        parts = torch.split(values, [self.widths[place] for place in places])
        return dict(zip(places, parts, strict=True))

    def _sums(self, places: Sequence[int], x: Tensor, states: dict[int, Tensor], gates: Mapping[int, Tensor]) -> Tensor:
        step = self.step
        replaced = {
            place: torch.full((len(x), width), 0.5, dtype=torch.float64) for place, width in self.widths.items()
        }
        replaced |= {place: own.expand(len(x), -1) for place, own in gates.items()}
        wanted = [step.loop.step[place].leaves[0] for place in places]
        found = step.function.values(wanted, _given(step, x, states), replaced)
        return torch.cat([own.expand(len(x), own.shape[-1]) for own in found], -1)

    def _zeros(self, rows: int) -> tuple[Tensor, dict[int, Tensor]]:
        step = self.step
        x = torch.zeros(rows, step.width, dtype=torch.float64)
        return x, {number: torch.zeros(rows, step.hidden, dtype=torch.float64) for number in step.states}


def _lstm(probe: _Probe) -> Iterator[nn.RNNCellBase]:
    """Gates by sigmoid in any order, the candidate by tanh; another tanh is that of c."""
    step, (_, c) = probe.step, probe.step.states
    sigmoids = probe.of_kind("sigmoid")
    candidates = [place for place in probe.of_kind("tanh") if not probe.reads(place, c)]
    if probe.rows(sigmoids) != 3 * step.hidden or probe.rows(candidates) != step.hidden:
        return
    of_gates = [own.chunk(3) for own in probe.affine(sigmoids)]
    of_candidate = probe.affine(candidates)
    for i, f, o in permutations(range(3)):
        tensors = [
            torch.cat([gates[i], gates[f], candidate, gates[o]])
            for gates, candidate in zip(of_gates, of_candidate, strict=True)
        ]
        yield _cell(_empty(nn.LSTMCell, step), *tensors)


def _recurrent(probe: _Probe) -> Iterator[nn.RNNCellBase]:
    """A GRU, whose update gate may be written as its complement, or a plain RNN."""
    step, hidden = probe.step, probe.step.hidden
    sigmoids, candidates = probe.of_kind("sigmoid"), probe.of_kind("tanh", "relu")
    if probe.rows(candidates) != hidden:
        return
    if not sigmoids and len(candidates) == 1:
        kind = probe.kinds[candidates[0]]
        yield _cell(_empty(nn.RNNCell, step, nonlinearity=kind), *probe.affine(candidates))
    if probe.rows(sigmoids) != 2 * hidden or probe.of_kind("relu"):
        return
    of_gates = [own.chunk(2) for own in probe.affine(sigmoids)]
    for r, z in permutations(range(2)):
        without, whole = (
            probe.affine(candidates, probe.gates(sigmoids, _reset(r, open_, hidden))) for open_ in (0.0, 1.0)
        )
        w_ih, w_hh, bias = (torch.cat([own[r], own[z]]) for own in of_gates)
        for sign in (1, -1):
            turned = torch.cat([torch.ones(hidden), torch.full((hidden,), float(sign))]).double()
            yield _cell(
                _empty(nn.GRUCell, step),
                torch.cat([w_ih * turned[:, None], without[0]]),
                torch.cat([w_hh * turned[:, None], whole[1] - without[1]]),
                torch.cat([bias * turned, without[2]]),
                torch.cat([torch.zeros(2 * hidden).double(), whole[2] - without[2]]),
            )


def _reset(place: int, value: float, hidden: int) -> Tensor:
    """Both gates of a GRU where the one at this place is `value`."""
    gates = torch.full((2, hidden), 0.5, dtype=torch.float64)
    gates[place] = value
    return gates.flatten()


def _empty(kind: type[nn.RNNCellBase], step: CellStep, **options: str) -> Any:
    """A cell without values: PyTorch's random numbers stay the caller's."""
    return skip_init(kind, step.width, step.hidden, dtype=torch.float64, **options)  # type: ignore[no-untyped-call]


def _cell(cell: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor | None = None) -> nn.RNNCellBase:
    tensors = {"weight_ih": w_ih, "weight_hh": w_hh, "bias_ih": b_ih, "bias_hh": b_hh}
    for name, own in tensors.items():
        parameter = getattr(cell, name)
        parameter.data = torch.zeros_like(parameter) if own is None else own.clone()
        parameter.requires_grad_(False)
    found: nn.RNNCellBase = cell.eval()
    return found


def _is_equal(step: CellStep, cell: Any) -> bool:
    """Whether a cell gives the step's next states for random values, small and large."""
    chance = torch.Generator().manual_seed(SEED)
    scales = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64).repeat(ROWS // 3)[:, None]
    x, *states = (
        torch.randn(ROWS, width, generator=chance, dtype=torch.float64) * scales
        for width in (step.width, *[step.hidden] * len(step.states))
    )
    given = _given(step, x, dict(zip(step.states, states, strict=True)))
    found = step.function.values([step.loop.states[own].after for own in step.states], given)
    with torch.no_grad():
        expected = cell(x, states[0] if len(states) == 1 else tuple(states))
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    return all(
        own.shape == other.shape and torch.allclose(own, other, rtol=RTOL, atol=ATOL)
        for own, other in zip(found, expected, strict=True)
    )


def _given(step: CellStep, x: Tensor, states: Mapping[int, Tensor]) -> dict[Any, Tensor]:
    parts = torch.split(x, [width for _, width in step.inputs], -1)
    values = {leaf: own for (leaf, _), own in zip(step.inputs, parts, strict=True)}
    return {**values, **{State(number=number): own for number, own in states.items()}}
