"""What a caller may say of a foreign file that its graph does not."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rnnx.runners.sources import Sources
from rnnx_runtime.contract import Nonlinearity

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """What adopting takes for given, under the file's own names.

    `states` names inputs and the outputs that the next call takes for them, such as `{"h": "h_next"}`; a pair that is
    named here and fails its proof is an error. `lengths` names inputs that hold sequence lengths. `sizes` are sizes to
    try free dims at, by the dim's name in the file, `B`, `T` or `INPUT.AXIS` such as `input.1`. `values` gives the
    lowest and the highest value of an input, such as `{"tokens": (0, 99)}`. `constants` fixes inputs that a deployment
    never changes, such as `{"sr": 16000}`, and takes them out of the signature.

    The others give the file a truth in PyTorch, as they do for `VerifyOptions`: `checkpoint` holds the weights of the
    one layer that the file is, with `module`, `names`, `batch_first` and `nonlinearity` to say which and how; or
    `model` is the module that the file was exported from, or `package.module:factory` into whose module `checkpoint` is
    loaded.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    lengths: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    constants: Mapping[str, str | float] = field(default_factory=dict)
    checkpoint: str | os.PathLike[str] | None = None
    module: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    batch_first: bool = False
    nonlinearity: Nonlinearity | None = None
    model: "str | nn.Module | None" = None

    @property
    def sources(self) -> Sources:
        """The files of the truth, and how to read them."""
        return Sources(
            checkpoint=None if self.checkpoint is None else Path(self.checkpoint),
            module=self.module,
            names=self.names,
            batch_first=self.batch_first,
            nonlinearity=self.nonlinearity,
        )
