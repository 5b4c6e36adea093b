"""What a caller may say of a foreign file that its graph does not."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """What adopting takes for given, under the file's own names.

    `states` names inputs and the outputs that the next call takes for them, such as `{"h": "h_next"}`; a pair that is
    named here and fails its proof is an error. `lengths` names inputs that hold sequence lengths. `sizes` are sizes to
    try free dims at, by the dim's name in the file, `B`, `T` or `INPUT.AXIS` such as `input.1`. `values` gives the
    lowest and the highest value of an input, such as `{"tokens": (0, 99)}`. `constants` fixes inputs that a deployment
    never changes, such as `{"sr": 16000}`, and takes them out of the signature.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    lengths: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    constants: Mapping[str, str | float] = field(default_factory=dict)
