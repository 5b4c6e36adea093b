"""What other tools make of a sealed model: its graph edited, its seal left as most tools leave it."""

from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

Edit = Callable[[onnx.ModelProto], None]


def processed(original: Path, folder: Path, edit: Edit) -> Path:
    """The original's graph changed, its seal there, and wrong."""
    model = onnx.load(original)
    edit(model)
    onnx.save(model, folder / "processed.onnx")
    return folder / "processed.onnx"


def rename(**names: str) -> Edit:
    """Give inputs and outputs other names."""

    def edit(model: onnx.ModelProto) -> None:
        for value in _ends(model):
            value.name = names.get(value.name, value.name)
        for node in model.graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]

    return edit


def rename_all(model: onnx.ModelProto) -> None:
    """Number the inputs and outputs."""
    rename(**{value.name: f"tensor_{index}" for index, value in enumerate(_ends(model))})(model)


def halve(*names: str) -> Edit:
    """Declare inputs and outputs as half, and every weight too."""

    def edit(model: onnx.ModelProto) -> None:
        for value in (own for own in _ends(model) if own.name in names):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
        for tensor in model.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), tensor.name))

    return edit


def halve_all(model: onnx.ModelProto) -> None:
    """Declare everything that is float32 as half."""
    halve(*(own.name for own in _ends(model) if own.type.tensor_type.elem_type == TensorProto.FLOAT))(model)


def _ends(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [*model.graph.input, *model.graph.output]
