"""The options of an export, and which of them a module can take."""

from dataclasses import dataclass
from typing import get_args

from rnnx.errors import OptionError
from rnnx.weights.recurrence import RecurrentModule
from rnnx_runtime.contract import Form, Nonlinearity

OPSETS = range(17, 24)
"""Opset versions an export may declare; the first is the default, for the most runtimes read it.

Graphs are built with the first one's operators. Those used here mean the same in all of them (later LSTM, GRU and Split
only add types and attributes), and the full check of every export would refuse one that did not.
"""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to export and how.

    `module` is the key prefix of the layer or cell, needed when a checkpoint has several. `form` is, left out,
    `encoder` for a layer and `step` for a cell. `steps` belongs to the unrolled form; `batch_first`, `lengths` and
    `stateful=False` to encoders. `batch_first=None` takes a module's own, and False for a checkpoint, which does
    not say; `nonlinearity=None`, of a plain RNN, takes a module's own, and tanh for a checkpoint.
    """

    module: str | None = None
    form: Form | None = None
    steps: int | None = None
    batch_first: bool | None = None
    nonlinearity: Nonlinearity | None = None
    stateful: bool = True
    lengths: bool = False
    opset: int | None = None


def form_of(module: RecurrentModule, options: ExportOptions) -> Form:
    """The form to export a module in, after every option was checked against it and the others.

    Raises:
        OptionError: an option does not fit the module or another option.
    """
    form = options.form or ("step" if module.is_cell else "encoder")
    _check_form(module, form)
    _check_steps(form, options)
    _check_encoder_options(form, options)
    _check_nonlinearity(module, options)
    return form


def opset_of(options: ExportOptions) -> int:
    """The opset to declare.

    Raises:
        OptionError: it is none of `OPSETS`.
    """
    opset = OPSETS[0] if options.opset is None else options.opset
    if type(opset) is not int or opset not in OPSETS:
        raise _refused("opset", opset, f"{OPSETS[0]} to {OPSETS[-1]}", f"leave it out for {OPSETS[0]}")
    return opset


def _check_form(module: RecurrentModule, form: Form) -> None:
    if form not in get_args(Form):
        raise _refused("form", form, " | ".join(get_args(Form)), "choose one of these")
    if (form == "encoder") == module.is_cell:
        fitting = "step or unrolled" if module.is_cell else "encoder"
        hint = "" if module.is_cell else " (session.step runs it one time step at a time)"
        raise _refused("form", f"{form} for {module.type_name}", fitting, f"use form {fitting.split()[0]}{hint}")


def _check_steps(form: Form, options: ExportOptions) -> None:
    if form == "unrolled" and (type(options.steps) is not int or options.steps < 1):
        remedy = "say how many steps to unroll, such as 16"
        raise _refused("steps", "none" if options.steps is None else repr(options.steps), "a whole number ≥ 1", remedy)
    if form != "unrolled" and options.steps is not None:
        raise _refused("steps", f"{options.steps} for form {form}", "none", "steps belong to form unrolled")


def _check_encoder_options(form: Form, options: ExportOptions) -> None:
    for name in ("batch_first", "lengths", "stateful"):
        if type(getattr(options, name)) is not bool and (name, options.batch_first) != ("batch_first", None):
            raise _refused(name, repr(getattr(options, name)), "True or False", "give a bool")
    for name, given in (
        ("batch_first", options.batch_first),
        ("lengths", options.lengths),
        ("stateful", not options.stateful),
    ):
        if given and form != "encoder":
            raise _refused(name, f"{getattr(options, name)} for form {form}", "an encoder", "leave it out")


def _check_nonlinearity(module: RecurrentModule, options: ExportOptions) -> None:
    given = options.nonlinearity
    if given is not None and given not in get_args(Nonlinearity):
        raise _refused(
            "nonlinearity", repr(given), " | ".join(get_args(Nonlinearity)), "choose the one it was trained with"
        )
    if given is not None and module.kind != "rnn":
        raise _refused("nonlinearity", f"it for {module.type_name}", "an nn.RNN or nn.RNNCell", "leave it out")


def _refused(option: str, got: object, expected: str, remedy: str) -> OptionError:
    return OptionError(option, got=str(got), expected=expected, remedy=remedy)
