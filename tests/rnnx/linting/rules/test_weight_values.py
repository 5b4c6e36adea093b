from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rnnx.linting.examination import examine


def model(value: float, kind: type[np.generic] = np.float32) -> onnx.ModelProto:
    w = np.ones((1, 8, 3), kind)
    w[0, 0, 0] = value
    weights = {"w": w, "r": np.ones((1, 8, 2), kind)}
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    x, y = (helper.make_tensor_value_info(name, element, None) for name in "xy")
    tensors = [numpy_helper.from_array(own, name) for name, own in weights.items()]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="rnn", hidden_size=2)
    return helper.make_model(helper.make_graph([node], "g", [x], [y], tensors))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_weight_that_is_no_number_is_an_error(value: float, kind: type[np.generic]) -> None:
    (found,) = [own for own in examine(model(value, kind)) if own.rule == "weights-not-finite"]
    assert (found.severity, found.node) == ("error", "LSTM 'rnn'")
    assert "'w' has 1 value" in found.message


def test_weights_in_another_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model(np.nan), path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    read = onnx.load(path, load_external_data=False)
    assert read.graph.initializer[0].data_location == TensorProto.EXTERNAL
    assert "weights-not-finite" in [own.rule for own in examine(read, tmp_path)]
    assert "weights-not-finite" not in [own.rule for own in examine(read)]


def test_numbers_are_no_finding() -> None:
    assert "weights-not-finite" not in [own.rule for own in examine(model(3e38))]
