"""What the tests of this room share: a graph's outputs by way of TensorRT's importer, and networks made by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from rnnx.engines.build_messages import BuildMessages, logger_for
from rnnx.engines.tensorrt_library import open_library
from rnnx.tensorrt_network.importer import import_graph
from rnnx.tensorrt_network.program import Program

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An ONNX graph that lies in no file."""

    data: bytes
    path: Path = Path("graph.onnx")
    external_data: Path | None = None


@pytest.fixture
def imported_outputs() -> Callable[[ModelProto, Mapping[str, Array]], dict[str, Array]]:
    """`imported_outputs(model, feeds)`: the outputs of the network that TensorRT's importer makes of a graph."""
    return lambda model, feeds: import_graph(Graph(data=model.SerializeToString())).program.run(feeds)


@pytest.fixture
def network_program() -> Callable[..., Program]:
    """`network_program(build, **dims)`: the program of a network made by hand.

    `build(trt, network, *inputs)` gives the output tensors; `dims` are the inputs' dtypes and dims by name.
    """
    return _network_program


def _network_program(build: Callable[..., Any], **inputs: tuple[str, tuple[int, ...]]) -> Program:
    library = open_library("tensorrt-rtx")
    builder = library.trt.Builder(logger_for(library.trt, BuildMessages()))
    network = library.create_network(builder)
    tensors = [
        network.add_input(name, getattr(library.trt.DataType, kind), dims) for name, (kind, dims) in inputs.items()
    ]
    outputs = build(library.trt, network, *tensors)
    for index, tensor in enumerate(outputs if isinstance(outputs, tuple) else (outputs,)):
        tensor.name = f"y{index}"
        network.mark_output(tensor)
    return Program(library.trt, network)
