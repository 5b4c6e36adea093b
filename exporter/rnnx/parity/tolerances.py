"""How far from the float64 truth a backend may be: one table, a line and a reason for each precision.

An error passes when it is at most `ratio` times the error that PyTorch's own float32 makes on the same inputs, or at
most the floor, whichever is larger. The ratio carries what depends on the weights: a recurrence that amplifies rounding
does so in PyTorch too. The floor stands in where PyTorch's own error happens to be small; it is the rounding of one
step, and grows with the root of the steps it passes through.

Why the root: a step's error is e_t = J_t·e_(t-1) + d_t, where d_t is what this step rounds and J_t the step's Jacobian.
A recurrence with |J_t| ≤ 1 adds up the d_t of T steps and L layers; roundings are as good as independent with mean zero
(Higham and Mary 2019, doi:10.1137/18M1226312), so their sum grows as √(T·L) and not as T·L. One with |J_t| > 1
amplifies, and is the ratio's to judge.
"""

import math
from dataclasses import dataclass

from rnnx.errors import OptionError
from rnnx_runtime.contract import Recurrence


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The limit of one precision, whose unit roundoff is 2 to the power of `-bits`, and its reason.

    `max(ratio · float32 error, units · 2^-bits · √(T·L) · max(1, largest value))`, where the units of one step are
    `fixed`, with `√K` added for K products in a sum where `sums_round`; without `√(T·L)` where `accumulates` is False.
    """

    bits: int
    ratio: float
    fixed: float
    sums_round: bool
    accumulates: bool
    reason: str

    @property
    def rule(self) -> str:
        """The limit in words."""
        units = f"({self.fixed:g} + √K)" if self.sums_round else f"{self.fixed:g}"
        growth = "·√(T·L)" if self.accumulates else ""
        ratio = f"the larger of {self.ratio:g} × the float32 error and " if self.ratio else ""
        return f"{ratio}{units}·2^-{self.bits}{growth}·max(1, largest value)"

    def floor(self, products: int, depth: int, magnitude: float) -> float:
        """The rounding of `depth` steps: K `products` in each sum, values up to `magnitude`."""
        # h is below 1 by its tanh, but an LSTM's c may reach c0 + T, and its last bit grows with it
        units = self.fixed + (math.sqrt(products) if self.sums_round else 0)
        growth = math.sqrt(depth) if self.accumulates else 1.0
        return units * 2.0**-self.bits * growth * max(1.0, magnitude)

    def limit(self, float32_error: float, products: int, depth: int, magnitude: float) -> float:
        """The largest error that passes."""
        return max(self.ratio * float32_error, self.floor(products, depth, magnitude))


TOLERANCES = {
    "float32": Tolerance(
        bits=24,
        ratio=4,
        fixed=4,
        sums_round=True,
        accumulates=True,
        reason=(
            "Ratio 4 = √16: the roundings of K products added in one chain, as a simple kernel adds them, grow as √K;"
            " split over the 16 float32 lanes of a wide register they are √16 times smaller, and both orders are right."
            " Floor: √K units for one such sum of numbers near 1, passed on by gates whose derivatives are at most 1,"
            " and 4 units for a tanh and a sigmoid of 2 units in the last place each."
        ),
    ),
    "tf32": Tolerance(
        bits=11,
        ratio=2 * 2**13,
        fixed=4,
        sums_round=False,
        accumulates=True,
        reason=(
            "TF32 rounds both factors of a product to 11 bits and adds in float32: a product's rounding is 2·2^13 times"
            " that of float32, hence the ratio. Floor: the roundings of a sum are 2 units of the root of the sum of its"
            " squared products, near 1 where gates are not saturated and whatever K is, through two gates."
        ),
    ),
    "float16": Tolerance(
        bits=11,
        ratio=2 * 2**13,
        fixed=4,
        sums_round=True,
        accumulates=True,
        reason=(
            "float16 keeps 11 bits of every weight, product, gate and state, 2^13 times coarser than float32, once for"
            " each factor of a product, hence the ratio. Floor: as float32's, in units of 2^-11, for a backend may also"
            " add the products in float16. A value beyond 65,504 becomes Inf, which is a failure and no error."
        ),
    ),
    "bfloat16": Tolerance(
        bits=8,
        ratio=2 * 2**16,
        fixed=4,
        sums_round=False,
        accumulates=True,
        reason=(
            "bfloat16 keeps 8 bits of both factors, 2^16 times coarser than float32, hence the ratio. Floor: 2 units"
            " for the factors and 2 for gate and state; every library that computes bfloat16 adds in float32."
        ),
    ),
    "int8": Tolerance(
        bits=8,
        ratio=0,
        fixed=12,
        sums_round=False,
        accumulates=False,
        reason=(
            "Dynamic int8 rounds x, h and the weights to 255 steps of their range. Weights uniform in ±1/√H and inputs"
            " in ±3 to ±4 give a sum a deviation of about 2 units of 2^-8 (√K roundings of a step over √12 each, times"
            " the other factor), 4 deviations cover a batch's largest, and 12 units leave room for the next layer. Not"
            " more with T: a trained gate forgets. Saturated products are far above: 0.22 against 0.011, measured at"
            " H=256 with and without reduce_range on a CPU with AVX2 and no VNNI. No ratio: the float32 error says"
            " nothing of the ranges."
        ),
    ),
}


def tolerance_for(precision: str) -> Tolerance:
    """The table's line for a precision.

    Raises:
        OptionError: the table has none.
    """
    if precision not in TOLERANCES:
        raise OptionError(
            "precision",
            got=repr(precision),
            expected=" or ".join(TOLERANCES),
            remedy="verify with the version of rnnx that exported the model",
        )
    return TOLERANCES[precision]


def products_per_sum(contract: Recurrence) -> int:
    """K: how many products the longest sum of a gate has, input and state together."""
    below = contract.directions * contract.projection_size if contract.layers > 1 else 0
    return max(contract.input_size, below) + contract.projection_size
