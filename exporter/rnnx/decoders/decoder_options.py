"""The options of exporting a decoder, and their refusal before anything is traced."""

from dataclasses import dataclass

from rnnx.errors import OptionError
from rnnx_runtime.contract import DecoderForm, TokenFeed


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """Which graph to make of a decoder's step.

    `steps` is N of an unrolled decoder and the trip limit of a loop. `feed` says where an unrolled decoder's tokens
    come from: its own argmax, or the caller, all N at once (`teacher`). `start_token` becomes part of the graph, which
    then has no input of tokens. A row ends at `end_token`: its later tokens are `pad_token` (the end token when left
    out) and its state stays. `allow_large` builds an unrolled graph that the forecast would refuse. `static` and
    `opset` are those of `ModelOptions`.
    """

    form: DecoderForm = "step"
    steps: int | None = None
    feed: TokenFeed = "argmax"
    start_token: int | None = None
    end_token: int | None = None
    pad_token: int | None = None
    allow_large: bool = False
    static: bool = False
    opset: int | None = None


def check_options(options: DecoderOptions) -> None:
    """Refuse options that contradict each other.

    Raises:
        OptionError: a form without its number of steps, tokens that no row can have, or a token without its use.
    """
    if options.form != "step" and (type(options.steps) is not int or options.steps < 1):
        raise OptionError(
            "steps",
            got=repr(options.steps),
            expected=f"a whole number from 1, for the form {options.form}",
            remedy="say how many tokens the longest output has, such as steps=32",
        )
    if options.form == "step" and options.steps is not None:
        raise OptionError(
            "steps",
            got=f"{options.steps} for a step",
            expected="none",
            remedy="leave it out, or choose the form unrolled or loop",
        )
    if options.feed == "teacher" and options.form != "unrolled":
        raise OptionError(
            "feed",
            got=f"teacher for the form {options.form}",
            expected="argmax",
            remedy="tokens that are all known go to an unrolled decoder; a step takes each from its caller",
        )
    for name in ("start_token", "end_token", "pad_token"):
        _check_token(name, getattr(options, name), options)
    if options.pad_token is not None and options.end_token is None:
        raise OptionError(
            "pad_token", got="no end token beside it", expected="both", remedy="give end_token too, or leave it out"
        )


def _check_token(name: str, token: object, options: DecoderOptions) -> None:
    if token is None:
        return
    if type(token) is not int or not 0 <= token < 2**31:
        raise OptionError(name, got=repr(token), expected="an index of the vocabulary", remedy="give its number")
    if options.feed == "teacher":
        raise OptionError(
            name, got=f"{token} beside teacher forcing", expected="none", remedy="leave it out: the caller gives tokens"
        )
