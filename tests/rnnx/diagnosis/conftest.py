"""What the tests of the diagnosis share: small modules with random weights, and a backend in NumPy that is wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.contracts import recurrence_of

from rnnx.diagnosis.prober import Prober
from rnnx.diagnosis.simulation import SOUND, Fault, Stack, simulate, stack_of
from rnnx.diagnosis.suspect import Suspect, read_suspect
from rnnx.parity.parity import ParityRow, compare
from rnnx.truths.cases import Case, cases
from rnnx.truths.reference import evaluate
from rnnx.truths.truth import CaseTruth
from rnnx.weights.recurrence import GATES, RecurrentModule
from rnnx.weights.weights import DirectionWeights, RecurrentWeights
from rnnx_runtime import Recurrence
from rnnx_runtime.contract import CellKind, Form, Nonlinearity, Source, TensorSpec, layer_contract
from rnnx_runtime.errors import BackendError

Array = NDArray[Any]
Compute = Callable[[Mapping[str, Array]], Mapping[str, Array]]

INPUT, HIDDEN = 5, 6
SIZES = ((1, 1), (2, 2), (5, 3))


@dataclass(frozen=True, kw_only=True)
class Model:
    """A contract with weights that fit it."""

    contract: Recurrence
    weights: RecurrentWeights

    @property
    def stack(self) -> Stack:
        return stack_of(self.weights, self.contract)

    def compute(self, fault: Fault = SOUND) -> Compute:
        """The model's outputs with a fault, as a backend computes them."""
        return lambda feeds: simulate(self.stack, self.contract, feeds, fault)

    def truth(self, own: Sequence[Case] = ()) -> list[CaseTruth]:
        """The truth of a few cases, the float32 error by NumPy."""
        return [self._entry(case) for case in (own or cases(self.contract, SIZES))]

    def _entry(self, case: Case) -> CaseTruth:
        exact = evaluate(self.weights, self.contract, case.feeds)
        single = evaluate(self.weights, self.contract, case.feeds, np.float32)
        errors = {name: float(np.abs(single[name] - value).max()) for name, value in exact.items()}
        return CaseTruth(case=case, truth=exact, float32_error=errors)


def model(
    cell: CellKind,
    layers: int = 1,
    directions: int = 1,
    *,
    form: Form = "encoder",
    lengths: bool = False,
    batch_first: bool = False,
    state_inputs: bool = True,
    projection: int = HIDDEN,
    nonlinearity: Nonlinearity | None = None,
    seed: int = 0,
) -> Model:
    """A model with weights uniform in ±1/√H, as PyTorch's own are before training."""
    chance = np.random.default_rng(seed)
    rows = GATES[cell] * HIDDEN

    def direction(width: int) -> DirectionWeights:
        shapes = ((rows, width), (rows, projection), (rows,), (rows,), (projection, HIDDEN))
        values = [chance.uniform(-1, 1, shape).astype(np.float32) / np.float32(HIDDEN**0.5) for shape in shapes]
        w_ih, w_hh, b_ih, b_hh, w_hr = values
        return DirectionWeights(w_ih=w_ih, w_hh=w_hh, b_ih=b_ih, b_hh=b_hh, w_hr=None if projection == HIDDEN else w_hr)

    stack = tuple(
        tuple(direction(INPUT if layer == 0 else directions * projection) for _ in range(directions))
        for layer in range(layers)
    )
    module = RecurrentModule(
        prefix="",
        kind=cell,
        is_cell=form != "encoder",
        input_size=INPUT,
        hidden_size=HIDDEN,
        projection_size=projection,
        layers=layers,
        directions=directions,
        bias=True,
        dtype="float32",
        parameters=0,
    )
    contract = recurrence_of(
        form=form,
        cell=cell,
        nonlinearity=(nonlinearity or "tanh") if cell == "rnn" else None,
        input_size=INPUT,
        hidden_size=HIDDEN,
        projection_size=projection,
        layers=layers,
        directions=directions,
        steps=4 if form == "unrolled" else None,
        batch_first=batch_first,
        state_inputs=state_inputs,
        lengths=lengths,
        precision="float32",
        formulation="test",
        source=Source(file="", module="", weights_sha256=""),
    )
    return Model(contract=contract, weights=RecurrentWeights(module=module, directions=stack, sha256=""))


class FakeBackend:
    """A function as a candidate, its results in float32; `calls` are the shapes of x it was asked with."""

    name = "ort-cpu"
    device = "NumPy"

    def __init__(self, compute: Compute, *, most_rows: int | None = None) -> None:
        self.calls: list[tuple[int, ...]] = []
        self._compute = compute
        self._most_rows = most_rows

    def outputs(self, case: Case) -> dict[str, Array]:
        shape = case.feeds["x"].shape
        self.calls.append(shape)
        if self._most_rows is not None and shape[-2] > self._most_rows:
            raise BackendError("fake", got=f"batch {shape[-2]}", expected="fewer rows", remedy="split them")
        return {name: value.astype(np.float32) for name, value in self._compute(case.feeds).items()}

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        raise NotImplementedError

    def close(self) -> None: ...


def row_of(
    made: Model, backend: FakeBackend, truth: Sequence[CaseTruth], outputs: Sequence[TensorSpec] | None = None
) -> ParityRow:
    """What the comparison says of a backend."""
    source = Source(file="", module="", weights_sha256="")
    contract = layer_contract(made.contract, precision="float32", source=source)
    return compare(backend, truth, contract, "float32", outputs=outputs)


def suspect(made: Model, compute: Compute, own: Sequence[Case] = ()) -> Suspect:
    """A backend under diagnosis."""
    backend, truth = FakeBackend(compute), made.truth(own)
    prober = Prober(backend, made.contract, made.contract.outputs, 3)
    return read_suspect(prober, row_of(made, backend, truth), truth, made.weights, None)
