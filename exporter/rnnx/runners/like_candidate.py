"""A file that another tool made of a sealed one, run by ONNX Runtime behind the checks that a session has."""

from rnnx.runners.foreign_candidate import ForeignCandidate
from rnnx.runners.foreign_model import ForeignModel
from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array
from rnnx_runtime.feeding import Feeding


class LikeCandidate(ForeignCandidate):
    """What the file would be once it is sealed: its inputs are checked against the original's contract first."""

    def __init__(self, name: str, model: ForeignModel, threads: int) -> None:
        """Raises as `ForeignCandidate`."""
        super().__init__(name, model, threads)
        self._feeding = Feeding(model.file.contract)
        # A state that comes back as half goes in again as half: what sealing puts a Cast to.
        self._given = {spec.name: spec.dtype for spec in model.file.contract.inputs if spec.name in model.dtypes}
        self._states = [spec.name for spec in model.file.contract.state_specs]

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs.

        Raises:
            InputError: an input is not one that a session takes, such as a length of 0.
            BackendError: ONNX Runtime refused the inputs or failed.
        """
        feeds = {
            name: value.astype(self._given.get(name, value.dtype), copy=False) for name, value in case.feeds.items()
        }
        inputs = {name: value for name, value in feeds.items() if name not in self._states}
        self._feeding.feeds(inputs, {name: feeds[name] for name in self._states} or None, None)
        return super().outputs(case)
