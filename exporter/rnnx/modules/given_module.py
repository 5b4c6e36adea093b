"""The module that a whole model is verified against: a live one, or what a factory makes, its checkpoint loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnx.errors import OptionError
from rnnx.modules.example_inputs import own_example_inputs
from rnnx.modules.factories import make_model
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.checkpoint_fit import fitting_state_dicts, load_state

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class GivenModule:
    """A module with where it came from, and the call that it or its factory shows where one does."""

    module: "nn.Module"
    source: str
    checkpoint: Path | None
    example_inputs: tuple[Any, ...] | Mapping[str, Any] | None


def read_given_module(
    model: "str | nn.Module", checkpoint: Path | None, is_meant: "Callable[[nn.Module], bool]"
) -> GivenModule:
    """A live module as it is; or a factory's, in evaluation mode, as `rnnx export` makes it.

    Where several state dicts of the checkpoint fit, the one is loaded with which `is_meant` takes the module.

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
        _load(made.module.eval(), checkpoint, is_meant)
    own = made.example_inputs if made.example_inputs is not None else own_example_inputs(made.module)
    return GivenModule(module=made.module.eval(), source=model, checkpoint=checkpoint, example_inputs=own)


def _load(module: "nn.Module", path: Path, is_meant: "Callable[[nn.Module], bool]") -> None:
    checkpoint = open_checkpoint(path)
    fitting = fitting_state_dicts(module, checkpoint)
    if "" in fitting or len(fitting) < 2:
        load_state(module, checkpoint)
        return
    for state_dict in fitting:
        load_state(module, checkpoint, state_dict)
        if is_meant(module):
            return


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
