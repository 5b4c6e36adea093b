"""Options of `rnnx export` that belong to one kind of source, turned into what the library takes."""

from typing import Any

import click
from click.core import ParameterSource

from rnnx.cli.source_names import OF_DECODERS, OF_FACTORIES, OF_LAYERS
from rnnx.errors import OptionError
from rnnx.exporting.factory_export import FactoryOptions
from rnnx.formulations.export_options import ExportOptions
from rnnx.modules.model_options import ModelOptions

_NOT_OF_DECODERS = ("stateful", "recurrent_states", "states", "output_names", "constants", "deterministic")
_OF_LAYERS_TOO = ("form", "steps", "opset")


def layer_options(ctx: click.Context) -> ExportOptions:
    """The options of a layer in a checkpoint.

    Raises:
        OptionError: an option of a factory was given.
    """
    others = (*OF_FACTORIES, *(name for name in OF_DECODERS if name not in _OF_LAYERS_TOO))
    _refuse(ctx, others, "a checkpoint", "package.module:factory")
    stateful = ctx.params["stateful"] is not False
    return ExportOptions(stateful=stateful, **{name: ctx.params[name] for name in (*OF_LAYERS, *_OF_LAYERS_TOO)})


def factory_options(ctx: click.Context) -> FactoryOptions:
    """The options of a factory's model, which is a decoder where a form was given.

    Raises:
        OptionError: an option of a layer in a checkpoint was given, or one that does not go with the form.
    """
    from rnnx.decoders.decoder_options import DecoderOptions

    _refuse(ctx, OF_LAYERS, "a model's factory", "a checkpoint")
    given: dict[str, Any] = ctx.params
    names = given["output_names"]
    form, shared = given["form"], {"static": given["static"], "opset": given["opset"]}
    decoder = None
    if form is None:
        _refuse(ctx, OF_DECODERS, "no --form", "--form step, unrolled or loop")
    else:
        _refuse(ctx, _NOT_OF_DECODERS, f"--form {form}", "no --form")
        if form == "encoder":
            raise OptionError(
                "--form",
                got="encoder for a model's factory",
                expected="step, unrolled or loop, of a decoder",
                remedy="leave it out to export the model as it is",
            )
        decoder = DecoderOptions(form=form, **shared, **{name: given[name] for name in OF_DECODERS})
    return FactoryOptions(
        checkpoint=given["checkpoint"],
        state_dict=given["state_dict"],
        inputs=given["inputs"],
        model=ModelOptions(
            stateful="recurrent" if given["recurrent_states"] else given["stateful"] is True,
            states=_state_names(given["states"]),
            output_names=tuple(name.strip() for name in names.split(",")) if names else None,
            constants=_constants(given["constants"]),
            deterministic=given["deterministic"],
            **shared,
        ),
        decoder=decoder,
    )


def _constants(texts: tuple[str, ...]) -> dict[str, str]:
    """The value of each `NAME=VALUE`."""
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or name in found:
            raise OptionError(
                "--constant",
                got=f"{name} twice" if separator else repr(text),
                expected="NAME=VALUE, each name once",
                remedy="such as --constant start=true",
            )
        found[name] = value
    return found


def _state_names(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [own.partition("=") for own in given]
    for text, (name, _, output) in zip(given, pairs, strict=True):
        if not name or not output or [own[0] for own in pairs].count(name) > 1:
            raise OptionError(
                "--state", got=repr(text), expected="IN=OUT, each input once", remedy="write --state h=h_next"
            )
    return {name.strip(): output.strip() for name, _, output in pairs}


def _refuse(ctx: click.Context, names: tuple[str, ...], got: str, expected: str) -> None:
    """Refuse options that were given and do not fit what else was."""
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            option = parameter.opts[0]
            raise OptionError(option, got=f"it for {got}", expected=f"it for {expected}", remedy=f"leave {option} out")
