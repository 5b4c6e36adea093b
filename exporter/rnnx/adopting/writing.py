"""A foreign graph under its contract written as a sealed .onnx, its weights taken in from other files."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, helper

from rnnx.errors import AdoptionError
from rnnx.graphs.onnx_stream import write_sealed
from rnnx.graphs.onnx_writer import PROTOBUF_LIMIT
from rnnx.linting.rules.outside_values import with_outside_values
from rnnx.linting.rules.scopes import scopes_of
from rnnx_runtime.contract import Contract
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.errors import FileDamagedError
from rnnx_runtime.files.seal import BLANK, SEAL_KEY


def take_in(model: ModelProto, folder: Path) -> bool:
    """Read what lies outside into the graph, where one protobuf holds all of it; whether nothing is outside any more.

    Raises:
        FileDamagedError: external data is missing, or is not what its tensors say.
    """
    tensors = _outside_tensors(model)
    if sum(map(_byte_size, tensors)) + model.ByteSize() >= PROTOBUF_LIMIT:
        return False
    for tensor in tensors:
        tensor.CopyFrom(_taken_in(tensor, folder))
    return True


def write_adopted(path: Path, model: ModelProto, contract: Contract, folder: Path) -> dict[str, int]:
    """Write `path`, and `<path>.data` beside it for weights that are outside.

    `folder` is where the model's external data lies. The graph's own metadata stays beside the contract. Returns the
    graph's node count by operator.

    Raises:
        FileDamagedError: external data is missing, or is not what its tensors say.
        AdoptionError: constants of subgraphs lie outside and are too large to take in.
    """
    values: dict[str, Any] = json_from_contract(contract)
    outside = _outside_tensors(model)
    if outside:
        if len(outside) > sum(own.data_location == TensorProto.EXTERNAL for own in model.graph.initializer):
            raise AdoptionError(
                path.name,
                got="more than 2 GiB of constants outside, some of them in subgraphs",
                expected="external data of the graph's own initializers",
                remedy="move the constants into the graph's initializers, as onnxslim does",
            )
        values["external_data"] = _moved_out(outside, folder, path)
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != "rnnx"}
    helper.set_model_props(model, {**kept, "rnnx": json.dumps({**values, SEAL_KEY: BLANK})})
    del model.training_info[:]
    with path.open("wb") as file:
        write_sealed(file, model, [])
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def _outside_tensors(model: ModelProto) -> list[TensorProto]:
    """Every tensor whose values lie in another file."""
    tensors = [tensor for scope in scopes_of(model) for tensor in scope.tensors.values()]
    return [own for own in tensors if own.data_location == TensorProto.EXTERNAL]


def _byte_size(tensor: TensorProto) -> int:
    size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    for dim in tensor.dims:
        size *= dim
    return size


def _taken_in(tensor: TensorProto, folder: Path) -> TensorProto:
    try:
        found = with_outside_values(tensor, folder)
    except Exception as error:  # the checker's own errors besides OSError and ValueError
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        raise FileDamagedError(
            str(folder / location),
            got=str(error).splitlines()[0][:200],
            expected=f"the values of {tensor.name!r}",
            remedy="copy the file of external data along with the model",
        ) from None
    del found.external_data[:]
    found.ClearField("data_location")
    return found


def _moved_out(tensors: Sequence[TensorProto], folder: Path, path: Path) -> dict[str, str]:
    """Write the tensors' values to `<path>.data`, one at a time; returns the file's name and SHA-256."""
    digest, offset, name = hashlib.sha256(), 0, f"{path.name}.data"
    with path.with_name(name).open("wb") as file:
        for tensor in tensors:
            data = _taken_in(tensor, folder).raw_data
            digest.update(data)
            file.write(data)
            del tensor.external_data[:]
            for key, value in (("location", name), ("offset", offset), ("length", len(data))):
                tensor.external_data.add(key=key, value=str(value))
            offset += len(data)
    return {"file": name, "sha256": digest.hexdigest()}
