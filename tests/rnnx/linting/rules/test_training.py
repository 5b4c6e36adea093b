import pytest
from tests.rnnx.linting.rules.conftest import Told


@pytest.mark.parametrize(
    ("node", "constants", "expected"),
    [
        ("y = Dropout (x, ratio, on)", "float ratio = {0.3}, bool on = {1}", "error"),
        ("y = Dropout (x, ratio, on)", "float ratio = {0.3}, bool on = {0}", None),
        ("y = Dropout (x, ratio, on)", "float ratio = {0}, bool on = {1}", None),
        ("y = Dropout (x, ratio)", "float ratio = {0.3}", None),
        ('y = Dropout (x, "", on)', "bool on = {1}", "error"),
        ("y = BatchNormalization <training_mode = 1> (x, a, a, a, a)", "float[1] a = {1}", "error"),
        ("y = BatchNormalization (x, a, a, a, a)", "float[1] a = {1}", None),
    ],
    ids=["on", "off", "ratio-0", "default", "default-ratio", "batch-norm-training", "batch-norm"],
)
def test_nodes_left_in_training_are_errors(told: Told, node: str, constants: str, expected: str | None) -> None:
    found = told(f"g (float[N,1] x) => (float[N,1] y) <{constants}> {{ [it] {node} }}", "training-mode")
    assert [(own.severity, own.node.endswith("'it'")) for own in found] == ([(expected, True)] if expected else [])
