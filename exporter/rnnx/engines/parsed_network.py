"""The network that TensorRT's ONNX importer makes of a model, compared with the model's contract before it is built."""

from collections.abc import Iterable
from typing import Any

from rnnx.engines.build_messages import BuildMessages
from rnnx.engines.tensorrt_library import TensorRTLibrary
from rnnx.errors import EngineError
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.files.model_file import OnnxFile

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT32": "int32",
    "INT64": "int64",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}
"""TensorRT's type names as NumPy's."""


def parse_network(
    library: TensorRTLibrary, network: Any, logger: Any, model: OnnxFile, messages: BuildMessages
) -> None:
    """Fill an empty network from a model.

    Raises:
        EngineError: the importer refuses a node; names it.
    """
    parser = library.trt.OnnxParser(network, logger)
    try:
        # Weights in a file of their own are found beside the model, so only then is it read a second time.
        parsed = parser.parse_from_file(str(model.path)) if model.external_data else parser.parse(model.data)
        if not parsed:
            raise _parser_error(library, parser, model, messages)
    finally:
        del parser  # it must go before its network


def check_network(network: Any, contract: Contract, subject: str) -> None:
    """Compare a parsed network's inputs and outputs with a contract; `subject` names the file.

    Of a whole model's outputs only name, dtype and rank: TensorRT may know a size that the contract has an expression
    for, and need not know one that the contract has.

    Raises:
        EngineError: a name, dtype or dim differs.
    """
    inputs = (network.get_input(i) for i in range(network.num_inputs))
    outputs = (network.get_output(i) for i in range(network.num_outputs))
    for role, tensors, specs in (("input", inputs, contract.inputs), ("output", outputs, contract.outputs)):
        by_rank = role == "output" and contract.bare is None
        got, expected = [_parsed_text(own, by_rank) for own in tensors], [_declared_text(own, by_rank) for own in specs]
        if got != expected:
            raise EngineError(
                f"{subject}, its {role}s in TensorRT",
                got=_differing(got, expected),
                expected=_differing(expected, got),
                remedy="the graph is not what its contract says: export the model again",
            )


def loop_count(trt: Any, network: Any) -> int:
    """The loops of a network: one for each ONNX LSTM or GRU node, which counts its steps with one trip limit."""
    kinds = [network.get_layer(i).type for i in range(network.num_layers)]
    return kinds.count(trt.LayerType.TRIP_LIMIT)


def _parser_error(library: TensorRTLibrary, parser: Any, model: OnnxFile, messages: BuildMessages) -> EngineError:
    subject, expected = str(model.path), f"a graph that {library.name} can read"
    if not parser.num_errors:
        return messages.error(subject, expected)
    error = parser.get_error(0)
    node = f"{error.node_operator()} {error.node_name()!r}" if error.node_operator() else "the graph"
    return EngineError(
        f"{subject}, {node}",
        got=f"{error.code().name}: {error.desc()}",
        expected=expected,
        remedy="export the model again, in another form or opset",
    )


def _parsed_text(tensor: Any, by_rank: bool) -> str:
    dims = ", ".join("?" if size < 0 or by_rank else str(size) for size in tuple(tensor.shape))
    return f"{tensor.name} {_DTYPES.get(tensor.dtype.name, tensor.dtype.name)} ({dims})"


def _declared_text(spec: TensorSpec, by_rank: bool) -> str:
    dims = ", ".join("?" if isinstance(dim, str) or by_rank else str(dim) for dim in spec.dims)
    return f"{spec.name} {spec.dtype} ({dims})"


def _differing(ours: Iterable[str], theirs: Iterable[str]) -> str:
    others = list(theirs)
    return "; ".join(text for text in ours if text not in others) or "none"
