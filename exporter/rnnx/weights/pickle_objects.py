"""What a pickle holds when it is read as plain data, and who may refuse it."""

from dataclasses import dataclass
from typing import Any, Protocol


class PickleDataError(ValueError):
    """The bytes are no whole pickle of the operations that torch writes, or cost more than they should."""


class UnsafePickleError(PickleDataError):
    """The pickle would do more than make tensors and plain containers."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Named:
    """What the pickle would import: `torch._utils._rebuild_tensor_v2`."""

    name: str


@dataclass(kw_only=True, eq=False, slots=True)
class Made:
    """What the pickle would make by calling `maker`, its state, and what a judge found it to be."""

    maker: Any
    arguments: Any
    state: Any = None
    finding: Any = None


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Outside:
    """What the pickle says lies outside of it, such as a tensor's storage, and what a judge found it to be."""

    reference: Any
    finding: Any = None


class Judge(Protocol):
    """Who looks at what a pickle would do, in the order in which it would, and may refuse it with a PickleDataError."""

    def called(self, made: Made) -> Any:
        """What is to be known of the result of a call."""

    def named(self, name: str) -> None:
        """The pickle would import this."""

    def given_items(self, target: Any) -> None:
        """Items are put into what is no plain dict."""

    def referred(self, reference: Any) -> Any:
        """What is to be known of something outside of the pickle."""

    def built(self, target: Any, state: Any) -> None:
        """A state is given to `target`."""


def maker_name(value: Any) -> str:
    """The name of what the pickle would make this by; a type's for what is there."""
    maker = value.maker if isinstance(value, Made) else None
    return maker.name if isinstance(maker, Named) else type(value).__name__


def finding_of(value: Any) -> Any:
    """What a judge found a result to be; None for anything else."""
    return value.finding if isinstance(value, Made) else None


def unusual(name: str) -> UnsafePickleError:
    """The refusal of a call with other arguments than `torch.save` writes."""
    return UnsafePickleError(f"a call of {name} as torch.save writes none")
