"""The options of exporting an encoder and decoder pair."""

from dataclasses import dataclass

from rnnx.decoders.decoder_options import DecoderOptions, check_options
from rnnx.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Seq2SeqOptions:
    """Where decoding starts and ends, and which graphs to write beside the encoder and the decoder's step.

    A row has at most `max_steps` tokens and is `pad_token` (the end token when left out) after `end_token`. `loop`
    writes the decoder with all its steps in one graph, `whole` the encoder and the loop in one: inputs in, tokens out.
    """

    start_token: int
    end_token: int
    max_steps: int
    pad_token: int | None = None
    loop: bool = False
    whole: bool = False
    opset: int | None = None

    @property
    def of_step(self) -> DecoderOptions:
        """The options of the step."""
        return DecoderOptions(
            start_token=self.start_token, end_token=self.end_token, pad_token=self.pad_token, opset=self.opset
        )

    @property
    def of_loop(self) -> DecoderOptions:
        """The options of the loop, which begins with the start token by itself."""
        return DecoderOptions(
            form="loop",
            steps=self.max_steps,
            start_token=self.start_token,
            end_token=self.end_token,
            pad_token=self.pad_token,
            opset=self.opset,
        )


def check_pair_options(options: Seq2SeqOptions) -> None:
    """Refuse tokens and steps that no pair can have.

    Raises:
        OptionError: a token is no index, or `max_steps` no number of steps.
    """
    for name in ("start_token", "end_token"):
        if getattr(options, name) is None:
            raise OptionError(name, got="None", expected="an index of the vocabulary", remedy="give its number")
    check_options(options.of_loop)
