"""What runs inside a loop or a branch and what outside, on layers written down by hand."""

from itertools import pairwise

from rnnx.tensorrt_network.layers import Layer, Tensor
from rnnx.tensorrt_network.nesting import nest
from rnnx.tensorrt_network.structure import Conditional, Loop, Node, in_order


def _layer(name: str, reads: str = "", writes: str = "", kind: str = "ELEMENTWISE", scope: int | None = None) -> Layer:
    """A layer; `reads` and `writes` are tensors of one letter each."""
    inputs, outputs = (tuple(map(_tensor, text)) for text in (reads, writes))
    return Layer(name=name, kind=kind, native=None, inputs=inputs, outputs=outputs, scope=scope)


def _tensor(name: str) -> Tensor:
    return Tensor(name=name, type="FLOAT", shape=())


def _shown(nodes: tuple[Node, ...] | list[Node]) -> list[object]:
    """The names of layers, a list for a loop's body, a pair of lists for a conditional's branches."""
    shown: list[object] = []
    for node in nodes:
        if isinstance(node, Layer):
            shown.append(node.name)
        elif isinstance(node, Loop):
            shown.append(_shown(node.body))
        else:
            shown.append(tuple(_shown(branch) for branch in node.branches))
    return shown


def _loop_bounds(scope: int, *, count: str, first: str, following: str, current: str, last: str) -> list[Layer]:
    return [
        _layer("limit", count, kind="TRIP_LIMIT", scope=scope),
        _layer("recurrence", first + following, current, kind="RECURRENCE", scope=scope),
        _layer("last", current, last, kind="LOOP_OUTPUT", scope=scope),
    ]


def test_layers_run_after_those_whose_results_they_read() -> None:
    layers = [_layer("third", "bc", "d"), _layer("second", "b", "c"), _layer("first", "a", "b")]
    assert _shown(nest(layers, frozenset("d"))) == ["first", "second", "third"]


def test_a_layer_that_nothing_needs_does_not_run_but_an_assertion_does() -> None:
    layers = [_layer("idle", "a", "b"), _layer("check", "c", kind="ASSERTION"), _layer("compare", "a", "c")]
    shown = _shown(nest([*layers, _layer("result", "a", "d")], frozenset("d")))
    assert sorted(map(str, shown)) == ["check", "compare", "result"]
    assert shown.index("compare") < shown.index("check")


def test_a_thousand_layers_in_a_row_are_no_recursion() -> None:
    names = [f"t{index}" for index in range(3001)]
    layers = [
        Layer(name=after, kind="UNARY", native=None, inputs=(_tensor(before),), outputs=(_tensor(after),))
        for before, after in pairwise(names)
    ]
    assert _shown(in_order(reversed(layers), frozenset(names[-1:]))) == names[1:]


def test_only_what_depends_on_the_step_runs_in_every_step() -> None:
    layers = [
        *_loop_bounds(0, count="n", first="a", following="d", current="c", last="z"),
        _layer("invariant", "a", "b"),
        _layer("step", "bc", "d"),
        _layer("after", "z", "y"),
    ]
    assert _shown(nest(layers, frozenset("y"))) == ["invariant", ["step"], "after"]


def test_a_loop_output_that_nothing_reads_is_not_collected() -> None:
    layers = [
        *_loop_bounds(0, count="n", first="a", following="d", current="c", last="z"),
        _layer("step", "c", "d"),
        _layer("all", "dn", "x", kind="LOOP_OUTPUT", scope=0),
    ]
    (loop,) = nest(layers, frozenset("z"))
    assert isinstance(loop, Loop)
    assert [layer.name for layer in loop.of_kind("LOOP_OUTPUT")] == ["last"]


def test_an_inner_loop_runs_inside_its_outer_one() -> None:
    inner = _loop_bounds(1, count="m", first="c", following="f", current="e", last="g")
    outer = _loop_bounds(0, count="n", first="a", following="h", current="c", last="z")
    layers = [*inner, *outer, _layer("inner step", "e", "f"), _layer("outer step", "g", "h")]
    assert _shown(nest(layers, frozenset("z"))) == [[["inner step"], "outer step"]]


def test_an_inner_loop_that_starts_from_outside_still_runs_inside() -> None:
    inner = _loop_bounds(1, count="m", first="a", following="f", current="e", last="g")
    outer = _loop_bounds(0, count="n", first="a", following="h", current="c", last="z")
    layers = [*inner, *outer, _layer("inner step", "ec", "f"), _layer("outer step", "gc", "h")]
    assert _shown(nest(layers, frozenset("z"))) == [[["inner step"], "outer step"]]


def test_a_branch_takes_along_what_nothing_else_needs() -> None:
    layers = [
        _layer("condition", "p", kind="CONDITION", scope=0),
        _layer("shared", "a", "b"),
        _layer("only true", "b", "c"),
        _layer("only false", "b", "d"),
        _layer("y", "cd", "y", kind="CONDITIONAL_OUTPUT", scope=0),
        _layer("both", "a", "e"),
        _layer("z", "ee", "z", kind="CONDITIONAL_OUTPUT", scope=0),
    ]
    *before, conditional = _shown(nest(layers, frozenset("yz")))
    assert sorted(map(str, before)) == ["both", "shared"]
    assert conditional == (["only true"], ["only false"])


def test_a_conditional_in_a_branch_is_part_of_it() -> None:
    layers = [
        _layer("condition", "p", kind="CONDITION", scope=0),
        _layer("inner condition", "q", kind="CONDITION", scope=1),
        _layer("one", "a", "b"),
        _layer("two", "a", "c"),
        _layer("inner", "bc", "d", kind="CONDITIONAL_OUTPUT", scope=1),
        _layer("three", "d", "e"),
        _layer("outer", "ea", "y", kind="CONDITIONAL_OUTPUT", scope=0),
    ]
    (conditional,) = nest(layers, frozenset("y"))
    assert isinstance(conditional, Conditional)
    assert _shown([conditional]) == [([(["one"], ["two"]), "three"], [])]
    assert conditional.reads == frozenset("pqa")
