"""A session as a pool sees it: a batch of rows, each with k frames and a state, whatever the model's form."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import ContractError, InputError
from rnnx_runtime.session import Session
from rnnx_runtime.state import DeviceTensor, State

Array = NDArray[Any]

_KEPT = ("cell", "nonlinearity", "input_size", "hidden_size", "projection_size", "layers", "directions")
"""What a new version of a model must share with the old one, for the streams' states to go on."""


class BatchedModel:
    """Runs rows of frames from states in the layout of slots, `(L·D, B, ·)`.

    Raises:
        InputError: the model has no single next step, or no state inputs.
    """

    def __init__(self, session: Session) -> None:
        _check_streams(session.spec)
        self.session = session
        self.takes_chunks = session.spec.form == "encoder"
        """Whether one run may hold several frames of each row."""
        self._has_lead = session.spec.form == "encoder"
        self._batch_first = session.spec.batch_first
        self._is_step = session.spec.form == "step"

    def run(self, x: Array, state: State) -> tuple[Array, State]:
        """Run x `(k, B, I)`; gives the output `(k, B, P)` and the next state.

        Raises:
            BackendError: the backend failed.
        """
        if self._has_lead:
            if self._batch_first:
                y, state = self.session.run(x.swapaxes(0, 1), state)
                return y.swapaxes(0, 1), state
            return self.session.run(x, state)
        return self._run_cell(x, state)

    def _run_cell(self, x: Array, state: State) -> tuple[Array, State]:
        """A model whose states are `(B, ·)`: the slots' layout with its first axis, of size 1, left out."""
        h, c = state.parts
        if isinstance(h, np.ndarray) and h.ndim == 3:
            state = State(h[0], None if c is None else _host(c)[0])
        y, state = self.session.run(x[0] if self._is_step else x, state)
        return (y[None] if self._is_step else y), state

    def refuse_unlike(self, other: "BatchedModel") -> None:
        """Refuse a model that could not go on from this one's states.

        Raises:
            ContractError: another cell or other sizes.
        """
        old, new = self.session.spec, other.session.spec
        differing = [name for name in _KEPT if getattr(old, name) != getattr(new, name)]
        if differing:
            raise ContractError(
                "swap",
                got=", ".join(f"{name} {getattr(new, name)}" for name in differing),
                expected=", ".join(f"{name} {getattr(old, name)}" for name in differing),
                remedy="open a second pool for a model of other sizes",
            )


def _host(value: Array | DeviceTensor) -> Array:
    return value if isinstance(value, np.ndarray) else value.numpy()


def _check_streams(spec: Contract) -> None:
    if not spec.state_inputs:
        got, remedy = "a model exported with --no-state-inputs", "export it with state inputs"
    elif spec.directions == 2:
        got, remedy = "a bidirectional encoder, which needs the whole sequence", "run whole sequences with Session.run"
    elif spec.form == "unrolled" and spec.steps != 1:
        got, remedy = f"a decoder of {spec.steps} unrolled steps", "export it with --form step"
    else:
        return
    raise InputError("pool", got=got, expected="a model with a single next step", remedy=remedy)
