"""A whole model's session as a candidate: the one that a service would embed."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rnnx.cases import Array, Case
from rnnx_runtime import BackendName, load_model
from rnnx_runtime.model_contract import ModelContract


class ModelCandidate:
    """A session opened with the runtime's own `load_model`."""

    def __init__(self, name: BackendName, path: Path, threads: int) -> None:
        """Raises as `rnnx_runtime.load_model`."""
        self._session = load_model(path, name, threads=threads)
        self.name: str = name
        self.device = self._session.device

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs of one case; states of zeros are left out where the inputs say how large they are."""
        spec = self._session.spec
        inputs, state = _parted(spec, case.feeds)
        told = {dim for own in spec.inputs if own.name in inputs for dim in own.dims}
        sized = all(isinstance(dim, int) or dim in told for own in spec.inputs for dim in own.dims)
        left_out = sized and not any(own.any() for own in state.values())
        outputs, following = self._session.run(inputs, None if left_out else state)
        return outputs | {pair.output: following[pair.input] for pair in self._session.spec.states}

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One `session.run`, its checks of the inputs included."""
        inputs, state = _parted(self._session.spec, feeds)
        return lambda: self._session.run(inputs, state)

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def _parted(contract: ModelContract, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """The inputs, and the states among them."""
    states = {pair.input for pair in contract.states}
    return (
        {name: value for name, value in feeds.items() if name not in states},
        {name: value for name, value in feeds.items() if name in states},
    )
