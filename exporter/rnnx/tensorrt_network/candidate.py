"""The row `tensorrt-network`: what TensorRT's importer understood of a graph, evaluated in NumPy.

It shows whether the importer reads a graph as ONNX means it, with no GPU. It says nothing about the kernels that a
built engine runs nor about their speed, for no kernel of TensorRT is executed.
"""

from collections.abc import Callable, Mapping

from rnnx.tensorrt_network.importer import OnnxSource, import_graph
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.tensorrt_network.program import Program
from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import BackendError
from rnnx_runtime.files.sidecar import Flavor


class NetworkCandidate:
    """The network that TensorRT's importer made of a graph, evaluated in NumPy in the types that the importer chose.

    It proves what the importer understood: no kernel runs, and a time of this row would be NumPy's. `warnings` are the
    importer's own; `types` is its element type of each tensor and of each constant.
    """

    def __init__(
        self,
        source: OnnxSource,
        contract: Contract,
        names: Mapping[str, str] | None = None,
        flavor: Flavor | None = None,
    ) -> None:
        """Parse the graph and let go of TensorRT.

        Args:
            source: the graph, from any exporter.
            contract: the inputs and outputs as cases and results name them.
            names: the graph's own name for each of these that it has; left out, the graph has all by the same names.
            flavor: whose importer; left out, the one that is installed.

        Raises:
            BackendUnavailable: no TensorRT is installed, it cannot parse on this host, or the network has a layer that
                is not evaluated.
            BackendError: the importer refuses the graph, or the network has no input or output of a name in `names`.
        """
        self.name: str = NETWORK_ROW
        specs = (*contract.inputs, *contract.outputs)
        self._names = {spec.name: spec.name for spec in specs} if names is None else dict(names)
        self._outputs = [spec.name for spec in contract.outputs if spec.name in self._names]
        imported = import_graph(source, flavor)
        self.device = f"parsed by {imported.library}, NumPy"
        self.warnings, self.types = imported.warnings, imported.program.types
        self._program: Program | None = imported.program
        for tensors, own in ((imported.program.inputs, contract.inputs), (imported.program.outputs, contract.outputs)):
            wanted = [self._names[spec.name] for spec in own if spec.name in self._names]
            _check_names(wanted, [tensor.name for tensor in tensors])

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs of one case, those of them that the graph has.

        Raises:
            BackendError: the case's sizes do not fit the network; names the input or the layer.
        """
        return self._run(case.feeds)

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One evaluation, because every row has one; its time says nothing about TensorRT."""
        return lambda: self._run(feeds)

    def close(self) -> None:
        """Let go of the weights."""
        self._program = None

    def _run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        if self._program is None:
            raise BackendError(
                f"row {NETWORK_ROW}", got="a call after close()", expected="an open row", remedy="open it anew"
            )
        results = self._program.run({self._names[name]: feeds[name] for name in feeds if name in self._names})
        return {name: results[self._names[name]] for name in self._outputs}


def _check_names(wanted: list[str], found: list[str]) -> None:
    for name in wanted:
        if name not in found:
            raise BackendError(
                "the parsed network", got=f"no {name!r}", expected=" | ".join(found), remedy="name one of these instead"
            )
