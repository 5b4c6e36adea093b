"""What a batch of whole sequences may take, known from its lengths and the contract before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass

from rnnx_runtime import InputError, Recurrence
from rnnx_runtime.contract import Contract
from service.settings import Settings

_MIB = 1 << 20
_FLOAT_BYTES = 4
JSON_NUMBER_BYTES = 24
"""The longest float32 as JSON, such as -1.1754943508222875e-38, and its comma."""
_JSON_LIST_BYTES = 3


class TooLargeError(InputError):
    """The request is a good one of a size that this service does not take."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The limits of a batch on one encoder."""

    contract: Contract
    settings: Settings

    def check(self, lengths: Sequence[int], *, as_json: bool) -> None:
        """Refuse a batch whose answer, or whose sequences padded to equal lengths, are too large.

        Raises:
            TooLargeError: the answer or the padded batch would pass its limit in MiB.
            InputError: padded to equal lengths it has more frames than may be.
        """
        longest, count = max(lengths), len(lengths)
        answer, limit = self._answer_bytes(sum(lengths), count, as_json), self.settings.max_answer_mib
        if answer > limit * _MIB:
            remedy = "send fewer sequences at once" + (", or ask for application/octet-stream" if as_json else "")
            got = f"{_sequences(longest, count)}: {_mib(answer)}"
            raise TooLargeError("the answer", got=got, expected=f"at most {limit:g} MiB", remedy=remedy)
        self.check_padded(longest, count)

    def check_padded(self, longest: int, count: int) -> None:
        """Refuse a batch that is too large when padded to equal lengths.

        Raises:
            TooLargeError: it would pass its limit in MiB.
            InputError: it has more frames than may be.
        """
        run, limit, most = (
            self._padded_bytes(longest, count),
            self.settings.max_padded_mib,
            self.settings.max_padded_frames,
        )
        got, remedy = _sequences(longest, count), "send sequences of similar lengths, and fewer at once"
        padded = "when padded to equal lengths"
        if run > limit * _MIB:
            expected = f"at most {limit:g} MiB {padded}"
            raise TooLargeError("the batch", got=f"{got}: {_mib(run)}", expected=expected, remedy=remedy)
        if longest * count > most:
            raise InputError("the batch", got=got, expected=f"at most {most} frames {padded}", remedy=remedy)

    def _answer_bytes(self, frames: int, count: int, as_json: bool) -> int:
        """The most that the answer can have: all outputs and the last states."""
        numbers = frames * self._output_size + count * self._state_numbers
        if not as_json:
            return numbers * _FLOAT_BYTES
        lists = frames + count * (3 + 2 * self._state_rows)
        return numbers * JSON_NUMBER_BYTES + lists * _JSON_LIST_BYTES

    def _padded_bytes(self, longest: int, count: int) -> int:
        """The inputs, outputs and states of a run: what it needs memory for, beside the backend's own."""
        frame = self.contract.input_size + self._output_size
        return (longest * count * frame + 2 * count * self._state_numbers) * _FLOAT_BYTES

    @property
    def _layer(self) -> Recurrence:
        return self.contract.layer()

    @property
    def _output_size(self) -> int:
        return self._layer.directions * self._layer.projection_size

    @property
    def _state_rows(self) -> int:
        return self._layer.layers * self._layer.directions

    @property
    def _state_numbers(self) -> int:
        """Numbers in the last states of one sequence."""
        cell = self._layer.hidden_size if self._layer.cell == "lstm" else 0
        return self._state_rows * (self._layer.projection_size + cell)


def check_push(frames: int, output_size: int, limit_mib: float) -> None:
    """Refuse frames whose outputs `(T, P)` are too large for one message.

    Raises:
        TooLargeError: they would pass the limit.
    """
    size = frames * output_size * _FLOAT_BYTES
    if size > limit_mib * _MIB:
        got = f"{frames} frames: {_mib(size)} of outputs"
        expected = f"at most {limit_mib:g} MiB"
        raise TooLargeError("a binary message", got=got, expected=expected, remedy="send fewer frames at once")


def _sequences(longest: int, count: int) -> str:
    return f"{count} sequences of up to {longest} frames"


def _mib(size: int) -> str:
    return f"{size / _MIB:.1f} MiB"
