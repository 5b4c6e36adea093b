"""The module that a whole model is verified against: a live one, or what a factory makes, its checkpoint loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnx.errors import OptionError
from rnnx.modules.example_inputs import own_example_inputs
from rnnx.modules.factories import make_model
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.checkpoint_fit import load_state

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class GivenModule:
    """A module with where it came from, and the call that it or its factory shows where one does."""

    module: "nn.Module"
    source: str
    checkpoint: Path | None
    example_inputs: tuple[Any, ...] | Mapping[str, Any] | None


def read_given_module(model: "str | nn.Module", checkpoint: Path | None) -> GivenModule:
    """A live module as it is; or a factory's, in evaluation mode, as `rnnx export` makes it.

    Raises:
        FactoryError: the factory is missing, raises, or returns no module.
        CheckpointError: the checkpoint cannot be read, or does not fit the module.
        OptionError: a checkpoint was given for a live module.
        MissingExtraError: torch is not installed.
    """
    if not isinstance(model, str):
        return _live(model, checkpoint)
    made = make_model(model)
    if checkpoint is not None:
        load_state(made.module, open_checkpoint(checkpoint))
    own = made.example_inputs if made.example_inputs is not None else own_example_inputs(made.module)
    return GivenModule(module=made.module.eval(), source=model, checkpoint=checkpoint, example_inputs=own)


def _live(module: "nn.Module", checkpoint: Path | None) -> GivenModule:
    if checkpoint is not None:
        raise OptionError(
            "checkpoint",
            got="it beside a live module",
            expected="it beside the name of a factory",
            remedy="load it into the module yourself, which is left as it is here",
        )
    name = type(module).__name__
    return GivenModule(module=module, source=name, checkpoint=None, example_inputs=own_example_inputs(module))
