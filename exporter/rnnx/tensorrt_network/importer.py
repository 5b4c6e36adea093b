"""From an ONNX graph, by way of TensorRT's own importer, to a program over NumPy arrays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from rnnx.engines.build_messages import BuildMessages, logger_for
from rnnx.engines.parsed_network import parse_network
from rnnx.engines.tensorrt_library import TensorRTLibrary, open_library
from rnnx.errors import EngineError, MissingExtraError
from rnnx.tensorrt_network.program import Program
from rnnx_runtime.errors import BackendError, BackendUnavailable
from rnnx_runtime.files.model_file import OnnxFile
from rnnx_runtime.files.sidecar import Flavor


class OnnxSource(Protocol):
    """An ONNX graph from anywhere: its file, its bytes, and the file of its weights where they are not in it."""

    @property
    def path(self) -> Path:
        """The file, beside which external weights lie."""

    @property
    def data(self) -> bytes:
        """The file's bytes."""

    @property
    def external_data(self) -> Path | None:
        """The weights' own file."""


@dataclass(frozen=True, kw_only=True)
class ImportedGraph:
    """A graph as the importer understood it, by which library, and what that warned of."""

    program: Program
    library: str
    warnings: tuple[str, ...]


def import_graph(source: OnnxSource, flavor: Flavor | None = None) -> ImportedGraph:
    """Parse a graph and read the network; nothing of TensorRT is held afterwards.

    Args:
        source: the graph.
        flavor: whose importer; left out, the one that is installed.

    Raises:
        BackendUnavailable: no TensorRT is installed, it cannot parse on this host, or the network has a layer that is
            not evaluated.
        BackendError: the importer refuses the graph; says which node and why.
    """
    library, messages = _library(flavor), BuildMessages()
    logger = logger_for(library.trt, messages)
    builder = _builder(library, logger, messages)
    network = library.create_network(builder)
    try:
        parse_network(library, network, logger, cast(OnnxFile, source), messages)
        warnings = messages.warnings  # what is logged while the network is read is about the reading
        return ImportedGraph(program=Program(library.trt, network), library=library.name, warnings=warnings)
    except EngineError as error:
        raise BackendError(error.subject, got=error.got, expected=error.expected, remedy=error.remedy) from None
    except MissingExtraError as error:
        raise BackendUnavailable(error.subject, got=error.got, expected=error.expected, remedy=error.remedy) from None


def _library(flavor: Flavor | None) -> TensorRTLibrary:
    try:
        return open_library(flavor)
    except (MissingExtraError, EngineError) as error:
        raise BackendUnavailable(
            "reading a graph with TensorRT's importer", got=error.got, expected=error.expected, remedy=error.remedy
        ) from None


def _builder(library: TensorRTLibrary, logger: Any, messages: BuildMessages) -> Any:
    """A builder, which the library `tensorrt` does not give without a GPU."""
    try:
        return library.trt.Builder(logger)
    except (TypeError, RuntimeError) as error:
        raise BackendUnavailable(
            f"a network of {library.name}",
            got="; ".join(messages.errors) or str(error),
            expected="a builder, which this library gives on a host with a GPU alone",
            remedy="pip install 'rnnx[tensorrt-rtx]', whose importer needs none",
        ) from None
