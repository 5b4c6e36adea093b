"""The options of a verification, checked before anything runs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rnnx.errors import OptionError
from rnnx.runners.row_names import PYTORCH_ROWS, ROW_NAMES
from rnnx.runners.sources import Sources
from rnnx.runners.subject import Subject
from rnnx.truths.matrix_names import MATRIX_NAMES, MatrixName
from rnnx_runtime.backends.session_options import MOST_THREADS
from rnnx_runtime.contract import Nonlinearity

if TYPE_CHECKING:
    from torch import nn

MOST_TIMED_STEPS = 20_000
"""Steps, over all rows of the batch, up to which the shape of the latency is a case too: float64 takes long beyond."""

CASE_TIMEOUT_S = 300.0
"""What a case may take, unless it is said otherwise."""

LONGEST_CASE_S = 86_400.0
"""A day; more than that is a mistake."""


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """What to verify and how.

    `checkpoint` gives the truth by PyTorch; without it the golden file beside the model does. `like` is the model of
    rnnx that another tool made this file from: its contract and its golden file are the file's. `backends` are the rows
    to run, all that apply when empty; a row named in `require` fails where it would be skipped. `matrix` is how many
    cases: `quick`, `full` or `soak`; from `full` on the drift is measured over 10,000 steps, not 1,000, and the latency
    with the start-up. `threads` is for the sessions
    and for PyTorch. A backend that gives no answer to a case within `case_timeout_s` fails it; left out, that
    is 300 s, and a file that gives none to the smallest case within a few seconds is refused.

    `module`, `names`, `batch_first` and `nonlinearity` are for a model that rnnx did not make: the layer's key prefix
    in the checkpoint, the graph's tensor for each of the contract's names, the order of its x and output, and what a
    plain RNN applies, which no checkpoint says.

    `model` is for a whole model: `package.module:factory`, into which `checkpoint` is loaded, or the live module, left
    as it is. With it the truth is the module's on fresh inputs, and PyTorch has rows of its own.

    `sizes` is the shape of the latency figures, of T and B what the model leaves free, and `latency_seconds` about how
    long to time each backend. `baseline` is an earlier report; what became worse since then fails.
    """

    checkpoint: str | os.PathLike[str] | None = None
    like: str | os.PathLike[str] | None = None
    engine: str | os.PathLike[str] | None = None
    module: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    batch_first: bool = False
    nonlinearity: Nonlinearity | None = None
    backends: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    matrix: MatrixName = "quick"
    threads: int = 1
    case_timeout_s: float | None = None
    latency: bool = True
    latency_seconds: float = 1.0
    sizes: Mapping[str, int] = field(default_factory=dict)
    baseline: str | os.PathLike[str] | None = None
    model: "str | nn.Module | None" = None

    @property
    def sources(self) -> Sources:
        """The files, and how to read them."""
        return Sources(
            checkpoint=_path(self.checkpoint),
            like=_path(self.like),
            engine=_path(self.engine),
            module=self.module,
            names=self.names,
            batch_first=self.batch_first,
            nonlinearity=self.nonlinearity,
        )


def row_names(subject: Subject, options: VerifyOptions, *, has_module: bool = False) -> tuple[str, ...]:
    """The rows to run, in a report's order; PyTorch's are among a whole model's where its module is there.

    The options are those that `check_options` let pass.
    """
    own = {*subject.rows(), *(PYTORCH_ROWS if has_module else ())}
    wanted = {*(options.backends or own), *options.require}
    return tuple(name for name in ROW_NAMES if name in wanted)


def check_options(options: VerifyOptions) -> None:
    """Refuse what is wrong whatever the model is.

    Raises:
        OptionError: an unknown row, matrix or nonlinearity, fewer than one thread, no time for a case.
    """
    check_names("backends", options.backends)
    check_names("require", options.require)
    for name in (*options.backends, *options.require):
        if name not in ROW_NAMES:
            raise OptionError("backends", got=repr(name), expected=" | ".join(ROW_NAMES), remedy="choose one of these")
    if options.matrix not in MATRIX_NAMES:
        expected = " | ".join(MATRIX_NAMES)
        raise OptionError("matrix", got=repr(options.matrix), expected=expected, remedy="choose one of these")
    if options.nonlinearity not in (None, *get_args(Nonlinearity)):
        expected = " | ".join(get_args(Nonlinearity))
        raise OptionError(
            "nonlinearity", got=repr(options.nonlinearity), expected=expected, remedy="leave it out for the graph's own"
        )
    threads: object = options.threads
    if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
        expected = f"1 to {MOST_THREADS}"
        raise OptionError("threads", got=repr(threads), expected=expected, remedy="leave it out for 1")
    if options.case_timeout_s is not None and not 0 < options.case_timeout_s <= LONGEST_CASE_S:
        got, expected = f"{options.case_timeout_s:g} s", f"more than 0 s and at most {LONGEST_CASE_S:g} s"
        raise OptionError("case_timeout_s", got=got, expected=expected, remedy="leave it out for 300 s")


def check_names(option: str, value: object) -> None:
    """Refuse one name in place of several; raises OptionError."""
    if isinstance(value, str):
        raise OptionError(option, got=repr(value), expected=f"({value!r},)", remedy="give a tuple of names")


def check_kind(options: object, kind: type[Any]) -> None:
    """Refuse options of another call; raises OptionError."""
    if not isinstance(options, kind):
        raise OptionError("options", got=type(options).__name__, expected=kind.__name__, remedy="give one of these")


def refuse_unfit(subject: Subject, options: VerifyOptions) -> None:
    """Refuse what asks for another truth than this model can be given.

    Raises:
        OptionError: what `refuse_unfit_module` refuses, or other cases than the golden file's without weights.
    """
    given = {"checkpoint": options.checkpoint is not None, "matrix": options.matrix != "quick"}
    refuse_unfit_module(subject, options.model, given)
    if not subject.is_whole and subject.weights is None and options.matrix != "quick":
        raise OptionError(
            "matrix",
            got=f"{options.matrix} without a checkpoint",
            expected="the weights, for the golden file has cases of its own and no others",
            remedy="give the checkpoint, or leave the matrix out",
        )


def refuse_unfit_module(subject: Subject, model: "str | nn.Module | None", need_it: Mapping[str, bool]) -> None:
    """Refuse a module for a model that takes none, and what needs one without it.

    Args:
        subject: the model.
        model: its module or factory, where one was given.
        need_it: whether each option was given that a whole model's module is needed for.

    Raises:
        OptionError: a module for a layer, whose weights are enough; an option that needs one, of a whole model without
            it; the module of a decoder that loops around it.
    """
    if not subject.is_whole:
        if model is not None:
            raise OptionError(
                "model",
                got="it for a file that holds a single layer",
                expected="a whole model",
                remedy="leave it out, and give the layer's weights as the checkpoint",
            )
        return
    for option, is_given in need_it.items():
        if is_given and model is None:
            raise OptionError(
                option,
                got="it for a whole model, whose code is not in its file",
                expected="the module's factory too",
                remedy=f"add the model (--model package.module:factory), or leave the {option} out",
            )
    decoder = subject.contract.decoder
    if model is not None and decoder is not None and decoder.form != "step":
        raise OptionError(
            "model",
            got=f"it for a decoder in form {decoder.form}",
            expected="a model, or a decoder's step",
            remedy="leave it out: the golden file holds what PyTorch decoded; export the decoder in form step to "
            "verify and time its module",
        )


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)
