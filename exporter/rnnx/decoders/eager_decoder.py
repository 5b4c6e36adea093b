"""What PyTorch decodes, step by step with the module itself: the truth of the unrolled and looping graphs."""

from collections.abc import Mapping

import numpy as np
import torch

from rnnx.decoders.output_names import LENGTHS
from rnnx.tracing.eager import EagerModel
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import DecoderPart, StatePair


class EagerDecoder:
    """A decoder's step called over and over, with the inputs and outputs of the graph that `part` describes."""

    def __init__(
        self, step: EagerModel, part: DecoderPart, token: str, states: tuple[StatePair, ...], axes: Mapping[str, int]
    ) -> None:
        """`token` names the step's own input of tokens, `axes` are the batch's of its states."""
        self._step = step
        self._part = part
        self._token = token
        self._states = states
        self._axes = dict(axes)

    def outputs(self, feeds: Mapping[str, Array], dtype: torch.dtype) -> dict[str, Array]:
        """Every output of the contract; floats are of `dtype`."""
        state = {pair.input: feeds[pair.input] for pair in self._states}
        context = {name: feeds[name] for name in self._part.context}
        if self._part.feed == "teacher":
            return self._teacher_forced(feeds[self._part.token or ""], state, context, dtype)
        return self._greedy(self._first_token(feeds), state, context, dtype)

    def _teacher_forced(
        self, tokens: Array, state: dict[str, Array], context: dict[str, Array], dtype: torch.dtype
    ) -> dict[str, Array]:
        logits = []
        for token in tokens:
            scores, state = self._stepped(token, state, context, dtype)
            logits.append(scores)
        return {self._part.logits or "": np.stack(logits), **self._named(state)}

    def _greedy(
        self, token: Array, state: dict[str, Array], context: dict[str, Array], dtype: torch.dtype
    ) -> dict[str, Array]:
        part, tokens, logits = self._part, list[Array](), list[Array]()
        ended, lengths = np.zeros(token.shape, bool), np.zeros(token.shape, np.int64)
        pad = part.pad_token if part.pad_token is not None else part.end_token
        for _ in range(part.steps or 0):
            scores, following = self._stepped(token, state, context, dtype)
            picked = scores.argmax(axis=1)
            state = {name: self._kept(name, ended, state[name], following[name]) for name in state}
            token = np.where(ended, pad or 0, picked) if part.end_token is not None else picked
            if part.end_token is not None:
                ended = ended | (picked == part.end_token)
            lengths += ~ended
            tokens.append(token)
            logits.append(scores)
        found = {part.tokens or "": np.stack(tokens, axis=1), **self._named(state)}
        if part.logits is not None:
            found[part.logits] = np.stack(logits)
        if part.end_token is not None:
            found[LENGTHS] = lengths
        return found

    def _stepped(
        self, token: Array, state: dict[str, Array], context: dict[str, Array], dtype: torch.dtype
    ) -> tuple[Array, dict[str, Array]]:
        found = self._step.outputs({self._token: token, **state, **context}, dtype)
        logits, *states = found.values()
        return logits, dict(zip(state, states, strict=True))

    def _first_token(self, feeds: Mapping[str, Array]) -> Array:
        if self._part.start_token is None:
            return feeds[self._part.token or ""]
        first = self._states[0].input
        return np.full(feeds[first].shape[self._axes[first]], self._part.start_token, np.int64)

    def _kept(self, name: str, ended: Array, old: Array, new: Array) -> Array:
        shape = [-1 if axis == self._axes[name] else 1 for axis in range(new.ndim)]
        return np.where(ended.reshape(shape), old.astype(new.dtype), new)

    def _named(self, state: dict[str, Array]) -> dict[str, Array]:
        return {pair.output: state[pair.input] for pair in self._states}
