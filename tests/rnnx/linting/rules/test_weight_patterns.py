import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rnnx.linting.examination import examine

CHANCE = np.random.default_rng(5)


def told(*weights: tuple[str, str], **values: np.ndarray) -> list[str]:
    """The rules on one GRU for each pair of names for W and R, in a chain."""
    nodes, x = [], "x"
    for place, names in enumerate(weights):
        nodes += [
            helper.make_node("GRU", [x, *names], [f"y{place}"], hidden_size=4, linear_before_reset=1,
                             direction="bidirectional" if values[names[1]].shape[0] == 2 else "forward"),
            helper.make_node("Squeeze", [f"y{place}", "one"], [f"s{place}"]),
        ]  # fmt: skip
        x = f"s{place}"
    tensors = [numpy_helper.from_array(own.astype(np.float32), name) for name, own in values.items()]
    tensors.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", f"y{len(weights) - 1}")]
    model: onnx.ModelProto = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors))
    return [own.rule for own in examine(model) if own.rule.startswith("weights-")]


def drawn(directions: int = 1) -> np.ndarray:
    return CHANCE.uniform(-1, 1, (directions, 12, 4))


def test_weights_that_were_drawn_are_no_finding() -> None:
    assert told(("w", "r"), ("v", "u"), w=drawn(), r=drawn(), v=drawn(), u=drawn()) == []
    assert told(("w", "r"), w=drawn(2), r=drawn(2)) == []


def test_recurrent_weights_of_zeros_are_told() -> None:
    assert told(("w", "r"), w=drawn(), r=np.zeros((1, 12, 4))) == ["weights-zero"]
    assert told(("w", "r"), w=drawn(2), r=np.concatenate([drawn(), np.zeros((1, 12, 4))])) == ["weights-zero"]


def test_both_directions_with_one_weight_are_told() -> None:
    w, r = (np.concatenate([own, own]) for own in (drawn(), drawn()))
    assert told(("w", "r"), w=w, r=r) == ["weights-repeated"]
    assert told(("w", "r"), w=drawn(2), r=r) == []


def test_a_layer_with_the_recurrent_weights_of_another_is_told() -> None:
    w, r, v = drawn(), drawn(), drawn()
    assert told(("w", "r"), ("v", "r"), w=w, r=r, v=v) == ["weights-repeated"]
    assert told(("w", "r"), ("v", "u"), w=w, r=r, v=v, u=r) == ["weights-repeated"]


def test_one_layer_that_runs_twice_is_no_finding() -> None:
    assert told(("w", "r"), ("w", "r"), w=drawn(), r=drawn()) == []
