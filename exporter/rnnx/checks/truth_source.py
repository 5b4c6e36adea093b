"""Where the truth of a check comes from: one model evaluated in float64 and in float32."""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from rnnx.truths.cases import Case
from rnnx.truths.comparable import largest_apart
from rnnx.truths.reference import evaluate
from rnnx.truths.stream import Outputs
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.contract import Recurrence


@dataclass(frozen=True, kw_only=True)
class TruthSource:
    """The outputs of any case in each precision, values kept in it: a state fed back is not rounded on the way."""

    double: Outputs
    single: Outputs

    def float32_error(self, case: Case) -> dict[str, float]:
        """The largest error of float32 on a case, by output."""
        truth, own = self.double(case), self.single(case)
        return {name: largest_apart(own[name], value) for name, value in truth.items()}


def source_from_weights(weights: RecurrentWeights, contract: Recurrence) -> TruthSource:
    """PyTorch's own module with these weights, or the formulas in NumPy where PyTorch is not installed."""
    if find_spec("torch") is None:
        return TruthSource(
            double=lambda case: evaluate(weights, contract, case.feeds),
            single=lambda case: evaluate(weights, contract, case.feeds, np.float32),
        )
    from rnnx.truths.torch_reference import TorchReference

    return TruthSource(
        double=TorchReference(weights, contract, precision="float64").outputs,
        single=TorchReference(weights, contract).outputs,
    )
