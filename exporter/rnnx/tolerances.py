"""How far from the float64 truth a backend may be: one table, a line and a reason for each precision.

An error passes when it is at most `ratio` times the error that PyTorch's own float32 makes on the same inputs, or at
most the floor, whichever is larger. The ratio carries what depends on the weights and the time: a recurrence that
amplifies rounding does so in PyTorch too. The floor is one step's rounding; it stands in where PyTorch's own error
happens to be small, and grows with neither the time nor the layers.
"""

import math
from dataclasses import dataclass

from rnnx.errors import OptionError
from rnnx_runtime.contract import Contract


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The limit of one precision, whose unit roundoff is 2 to the power of `-bits`, and its reason.

    `max(ratio · float32 error, (fixed + √K) · 2^-bits · max(1, largest value))` for K products in a sum; without `√K`
    where `sums_round` is False.
    """

    bits: int
    ratio: float
    fixed: float
    sums_round: bool
    reason: str

    @property
    def rule(self) -> str:
        """The limit in words."""
        units = f"({self.fixed:g} + √K)" if self.sums_round else f"{self.fixed:g}"
        return f"the larger of {self.ratio:g} × the float32 error and {units}·2^-{self.bits}·max(1, largest value)"

    def floor(self, products: int, magnitude: float) -> float:
        """The rounding of one step: K `products` in each sum, values up to `magnitude`."""
        # h is below 1 by its tanh, but an LSTM's c may reach c0 + T, and its last bit grows with it
        units = self.fixed + (math.sqrt(products) if self.sums_round else 0)
        return units * 2.0**-self.bits * max(1.0, magnitude)

    def limit(self, float32_error: float, products: int, magnitude: float) -> float:
        """The largest error that passes."""
        return max(self.ratio * float32_error, self.floor(products, magnitude))


TOLERANCES = {
    "float32": Tolerance(
        bits=24,
        ratio=4,
        fixed=4,
        sums_round=True,
        reason=(
            "Ratio 4 = √16: the roundings of K products added in one chain, as a simple kernel adds them, grow as √K;"
            " split over the 16 float32 lanes of a wide register they are √16 times smaller, and both orders are right."
            " Floor: √K units for one such sum of numbers near 1 (Higham and Mary 2019, doi:10.1137/18M1226312), passed"
            " on by gates whose derivatives are at most 1, and 4 units for a tanh and a sigmoid of 2 units in the last"
            " place each. A recurrence that contracts adds no more; one that does not is held by the ratio."
        ),
    ),
    "tf32": Tolerance(
        bits=11,
        ratio=2 * 2**13,
        fixed=4,
        sums_round=False,
        reason=(
            "TF32 rounds both factors of a product to 11 bits and adds in float32: a product's rounding is 2·2^13 times"
            " that of float32, hence the ratio. Floor: the roundings of a sum are 2 units of the root of the sum of its"
            " squared products, near 1 where gates are not saturated and whatever K is, through two gates."
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


def products_per_sum(contract: Contract) -> int:
    """K: how many products the longest sum of a gate has, input and state together."""
    below = contract.directions * contract.projection_size if contract.layers > 1 else 0
    return max(contract.input_size, below) + contract.projection_size
