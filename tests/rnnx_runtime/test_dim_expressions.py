import pytest

from rnnx_runtime.dim_expressions import is_expression, is_linear, size_of, solved, symbols_of

SIZES = {"T": 9, "B": 2, "D1": 5}


@pytest.mark.parametrize(
    ("dim", "size"),
    [
        (7, 7),
        ("T", 9),
        ("T + 1", 10),
        ("20*T - 80", 100),
        ("B*D1", 10),
        ("12 - D1", 7),
        ("-T + 12", 3),
        ("(((T - 1)//2)) + 1", 5),
        ("T//2*2", 8),
        ("T % 4", 1),
        ("Mod(T, 4)", 1),
        ("Max(1, T - 20)", 1),
        ("Min(B, D1)", 2),
        ("T**2 - 1", 80),
    ],
)
def test_a_dim_comes_to_a_size(dim: str | int, size: int) -> None:
    assert size_of(dim, SIZES) == size


@pytest.mark.parametrize(
    "dim",
    ["S + 1", "T//0", "T % 0", "Mod(T, 0)", "T**99", "(T**8)**8", "T +", "T T", "2T", "f(T)", "Max(T)", "T/2", "", "é"],
    ids=repr,
)
def test_what_comes_to_no_number_has_no_size(dim: str) -> None:
    assert size_of(dim, SIZES) is None


def test_brackets_are_not_followed_without_end() -> None:
    assert size_of("(" * 20 + "T" + ")" * 20, SIZES) == 9
    assert size_of("(" * 40 + "T" + ")" * 40, SIZES) is None


def test_symbols_are_told_in_their_order() -> None:
    assert symbols_of("B*D1 + B") == ("B", "D1")
    assert symbols_of("Max(1, T)") == ("T",)
    assert symbols_of(3) == symbols_of("3 T") == ()
    assert [is_expression(dim) for dim in (3, "T", "T + 1")] == [False, False, True]


@pytest.mark.parametrize(
    ("dim", "size", "found"),
    [
        ("20*S", 100, ("S", 5)),
        ("B*S", 8, ("S", 4)),
        ("12 - S", 4, ("S", 8)),
        ("20*S", 101, None),
        ("S + 4", 4, None),
        ("S//2", 3, None),
        ("S*U", 6, None),
        ("0*S + 1", 1, None),
    ],
)
def test_a_symbol_is_solved_where_one_size_of_it_fits(dim: str, size: int, found: tuple[str, int] | None) -> None:
    assert solved(dim, size, SIZES) == found


def test_sums_and_products_are_linear() -> None:
    assert [is_linear(dim) for dim in ("2*T + B", "T//2", "Mod(T, 2)", "T +")] == [True, False, False, False]
