import pytest

from rnnx.linting.rules.axes import Atom, Axes
from rnnx.linting.rules.reshaping import matched

T, B, D, H = Atom("T"), Atom("B"), Atom("D", 2), Atom("H", 8)
ONE = Atom("D", 1)


@pytest.mark.parametrize(
    ("axes", "target", "groups"),
    [
        (((T,), (B,), (D,), (H,)), (5, -1, 16), "T B DH"),
        (((T,), (B,), (D,), (H,)), (0, 0, -1), "T B DH"),
        (((T,), (B,), (D,), (H,)), (-1, 16), "TB DH"),
        (((T,), (B,), (D,), (H,)), (5, 3, -1), "T B DH"),
        (((T,), (B,), (D,), (H,)), (None, None, 2, 8), "T B D H"),
        (((T,), (B,), (ONE,), (H,)), (5, -1, 8), "T B H"),
        (((T,), (ONE,), (B,), (H,)), (5, -1, 8), "T B H"),
        (((T, B), (H,)), (5, -1, 8), "T B H"),
        (((T,), (B, D), (H,)), (0, -1), "T BDH"),
        (((T,), (D,), (B,), (H,)), (5, -1, 16), None),
        (((T,), (B,), (H,)), (5, 3, 2, 4), None),
        (((T,), (B,), (D,), (H,)), (15, -1), None),
        (((Atom("", None),), (B,), (H,)), (2, 2, -1, 8), None),
    ],
    ids=[
        "joined", "copied", "rows", "rest-last", "computed", "one-direction", "direction-first", "split-again",
        "rest-of-joined", "untransposed", "units-split", "cannot-be-told",
        "layers-and-directions",
    ],
)  # fmt: skip
def test_the_dims_that_go_into_each_dim_of_a_reshape(
    axes: Axes, target: tuple[int | None, ...], groups: str | None
) -> None:
    found = matched(axes, target, keeps_zero=False)
    shown = None if found is None else " ".join("".join(atom.meaning for atom in axis) for axis in found)
    assert shown == groups


def test_a_zero_that_is_meant_copies_no_dim() -> None:
    assert matched(((T,), (H,)), (0, 8), keeps_zero=True) == ((T,), (H,))
    assert matched(((T, B), (H,)), (0, -1), keeps_zero=False) == ((T, B), (H,))
    assert matched(((T, B), (H,)), (0, 3, 8), keeps_zero=True) == ((T,), (B,), (H,))
