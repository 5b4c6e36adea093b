"""A model's source while it is drawn: what its class holds so far, and what `x` is at this point of `forward`."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Draft:
    """Lines of a model whose value `x` is `(B, T, width)`, or `(T, B, width)` with `time_first`.

    `parameters` are those of `forward` with the expression in B, T and the generator g that draws them; `lengths` is
    the variable of the valid lengths of `x`, if it has any. `last` is an expression of a layer's last states, of
    `(B, last_width)`. `is_longer` says that `x` may have more steps than the inputs. `traits` count what was drawn;
    `states` are the tensors that `--stateful` has to lift.
    """

    chance: random.Random
    time_first: bool
    stateful: bool = False
    width: int = 0
    lengths: str | None = None
    sorted_lengths: bool = False
    last: str | None = None
    last_width: int = 0
    states: int = 0
    is_longer: bool = False
    parameters: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    methods: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    traits: list[str] = field(default_factory=list)
    _modules: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    @property
    def t(self) -> int:
        """The axis of time."""
        return 0 if self.time_first else 1

    @property
    def b(self) -> int:
        """The axis of the batch."""
        return 1 - self.t

    @property
    def lead(self) -> str:
        """The first two sizes of an input."""
        return "T, B" if self.time_first else "B, T"

    def pick(self, *options: str) -> str:
        """One of these, all as likely."""
        return self.chance.choice(options)

    def coin(self, probability: float = 0.5) -> bool:
        """True so often."""
        return self.chance.random() < probability

    def name(self, stem: str) -> str:
        """A name that the source has nowhere else."""
        self._count += 1
        return f"{stem}{self._count}"

    def module(self, stem: str, made: str, share: float = 0.3) -> str:
        """A submodule by `made`, or one that is there already: by its attribute, or by another for the same object."""
        known = self._modules.get(made)
        if known is not None and self.coin(share):
            self.traits.append("shared module")
            if self.coin(0.7):
                return known
            other = f"self.{self.name(stem)}"
            self.fields.append(f"{other} = {known}")
            return other
        own = f"self.{self.name(stem)}"
        self.fields.append(f"{own} = {made}")
        self._modules[made] = own
        return own

    def parameter(self, shape: str) -> str:
        """A learned tensor."""
        own = f"self.{self.name('p')}"
        self.fields.append(f"{own} = nn.Parameter(0.3 * torch.randn({shape}))")
        return own

    def line(self, *texts: str) -> None:
        """Further lines of `forward`."""
        self.body += texts

    def trait(self, text: str) -> None:
        """Count this among what the model has."""
        self.traits.append(text)

    def time_slice(self, text: str) -> str:
        """An index of `x` along its time, such as `x[:, ::2]`."""
        return f"x[{text}]" if self.time_first else f"x[:, {text}]"

    def last_step(self, value: str = "x") -> str:
        """The last step of a sequence."""
        return f"{value}[-1]" if self.time_first else f"{value}[:, -1]"

    def channels_first(self, value: str = "x") -> str:
        """The sequence as `(B, width, T)`."""
        return f"{value}.permute(1, 2, 0)" if self.time_first else f"{value}.transpose(1, 2)"

    def from_channels_first(self, value: str) -> str:
        """The sequence of `(B, width, T)`."""
        return f"{value}.permute(2, 0, 1)" if self.time_first else f"{value}.transpose(1, 2)"

    def of_batch_first(self, value: str) -> str:
        """The sequence of `(B, T, width)`, or the other way round."""
        return f"{value}.transpose(0, 1)" if self.time_first else value

    @property
    def frames(self) -> str:
        """How many steps `x` has."""
        return f"x.size({self.t})"

    @property
    def rows(self) -> str:
        """How many rows `x` has."""
        return f"x.size({self.b})"

    def shorter(self, length: str) -> None:
        """Tell that `x` has become shorter, with the lengths of its rows by this expression in `n`."""
        self.last = None
        if self.lengths is not None:
            self.line(f"{self.lengths} = ({length.format(n=self.lengths)}).clamp(min=1, max={self.frames})")


def indented(lines: Sequence[str], depth: int) -> str:
    """Lines as they stand inside of a class or method."""
    return "\n".join("    " * depth + line for line in lines)
