"""What PyTorch makes of an encoder's inputs when the decoder decodes them greedily: the truth of the joined graph."""

from collections.abc import Mapping

import torch

from rnnx.decoders.eager_decoder import EagerDecoder
from rnnx.tracing.eager import EagerModel
from rnnx_runtime.array_type import Array


class EagerPair:
    """An encoder, then a greedy decoder on what `passes` gives each of its inputs; `results` names the outputs."""

    def __init__(
        self, encoder: EagerModel, decoder: EagerDecoder, passes: Mapping[str, str], results: tuple[str, ...]
    ) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._passes = dict(passes)
        self._results = results

    def outputs(self, feeds: Mapping[str, Array], dtype: torch.dtype) -> dict[str, Array]:
        """Every output of the contract."""
        values = {**feeds, **self._encoder.outputs(feeds, dtype)}
        found = self._decoder.outputs({name: values[source] for name, source in self._passes.items()}, dtype)
        return {name: found[name] for name in self._results}
