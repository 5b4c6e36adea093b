import pytest
from tests.rnnx.linting.rules.conftest import Told

BAKED = ("baked-time", "baked-batch")


def encoder(after: str, constants: str = "", *, x: str = "float[T,B,5] x", before: str = "", source: str = "x") -> str:
    """A bidirectional LSTM of hidden size 8 over `source`; `after` makes `out` from its `y (T, 2, B, 8)`."""
    return f"""
        g ({x}, float[2,32,5] w, float[2,32,8] r, float[2,B,8] h0, float[2,B,8] c0) => (float[a,b,c] out)
        <{constants}> {{
            {before}
            y, hn, cn = LSTM <direction = "bidirectional", hidden_size = 8> ({source}, w, r, "", "", h0, c0)
            {after}
        }}"""


TURNED = "moved = Transpose <perm = [0, 2, 1, 3]> (y)"


@pytest.mark.parametrize(
    ("shape", "rules"),
    [
        ("{5, -1, 16}", {"baked-time": "length 5"}),
        ("{-1, 3, 16}", {"baked-batch": "length 3"}),
        ("{5, 3, 16}", {"baked-time": "length 5", "baked-batch": "length 3"}),
        ("{5, 3, -1}", {"baked-time": "length 5", "baked-batch": "length 3"}),
        ("{0, 3, -1}", {"baked-batch": "length 3"}),
        ("{5, 0, 16}", {"baked-time": "length 5"}),
        ("{-1, 1, 16}", {"baked-batch": "length 1"}),
        ("{0, 0, -1}", {}),
        ("{0, 0, 16}", {}),
        ("{0, -1, 16}", {}),
    ],
)
def test_a_constant_shape_says_which_length_it_holds(told: Told, shape: str, rules: dict[str, str]) -> None:
    found = told(encoder(f"{TURNED}\n[flat] out = Reshape (moved, s)", f"int64[3] s = {shape}"), *BAKED)
    assert {own.rule for own in found} == set(rules)
    for own in found:
        assert (own.severity, own.node) == ("error", "Reshape 'flat'")
        assert rules[own.rule] in own.message
        assert "at another length ONNX Runtime fails, or gives another shape without a word" in own.message
        assert ("keeps time free" if own.rule == "baked-time" else "h0 and c0") in own.fix


@pytest.mark.parametrize(("shape", "word"), [("{15, 16}", "time × batch length 15"), ("{-1, 16}", None)])
def test_joined_time_and_batch_are_named_as_joined(told: Told, shape: str, word: str | None) -> None:
    found = told(encoder(f"{TURNED}\n[flat] out = Reshape (moved, s)", f"int64[2] s = {shape}"), *BAKED)
    assert [word in own.message for own in found if word] == [True] * bool(word)
    assert len(found) == bool(word)


def test_time_and_batch_joined_before_are_told_apart_after(told: Told) -> None:
    after = f"""{TURNED}
        rows = Reshape (moved, first)
        scores = MatMul (rows, v)
        [back] out = Reshape (scores, second)"""
    constants = "int64[2] first = {-1, 16}, int64[3] second = {5, -1, 4}, float[16,4] v = {" + ",".join("0" * 64) + "}"
    (found,) = told(encoder(after, constants), *BAKED)
    assert (found.rule, found.node) == ("baked-time", "Reshape 'back'")


def test_a_shape_that_is_partly_computed_is_read_too(told: Told) -> None:
    after = f"""{TURNED}
        size = Shape <start = 1, end = 2> (x)
        s = Concat <axis = 0> (five, size, wide)
        [flat] out = Reshape (moved, s)"""
    (found,) = told(encoder(after, "int64[1] five = {5}, int64[1] wide = {16}"), *BAKED)
    assert (found.rule, found.node) == ("baked-time", "Reshape 'flat'")
    assert "[5, ?, 16]" in found.message


def test_a_shape_computed_from_the_input_is_no_finding(told: Told) -> None:
    after = f"""{TURNED}
        sizes = Shape <start = 0, end = 2> (x)
        s = Concat <axis = 0> (sizes, wide)
        out = Reshape (moved, s)"""
    assert told(encoder(after, "int64[1] wide = {16}"), *BAKED) == []


def test_a_reshape_before_the_recurrence_is_read_from_its_result(told: Told) -> None:
    before = "[front] seq = Reshape (x, s)"
    text = encoder("out = Identity (hn)", "int64[3] s = {5, -1, 5}", x="float[N,K] x", before=before, source="seq")
    (found,) = told(text, *BAKED)
    assert (found.rule, found.severity, found.node) == ("baked-time", "warning", "Reshape 'front'")


@pytest.mark.parametrize("layers", [1, 2])
def test_each_layers_reshape_is_named_once(told: Told, layers: int) -> None:
    after = f"{TURNED}\n[first] mid = Reshape (moved, s)\nout = Identity (mid)"
    if layers == 2:
        after = f"""{TURNED}
            [first] mid = Reshape (moved, s)
            y2, hn2, cn2 = LSTM <direction = "bidirectional", hidden_size = 8> (mid, w2, r, "", "", h0, c0)
            moved2 = Transpose <perm = [0, 2, 1, 3]> (y2)
            [second] out = Reshape (moved2, s)"""
    found = told(encoder(after, "int64[3] s = {5, -1, 16}, float[1] w2 = {0}"), *BAKED)
    assert [own.node for own in found] == ["Reshape 'first'", "Reshape 'second'"][:layers]


@pytest.mark.parametrize(
    ("maker", "constants", "node"),
    [
        ("", "float[1,3,8] zeros = {0}", "GRU 'rnn'"),
        ("[fill] zeros = ConstantOfShape (s)", "int64[3] s = {1, 3, 8}", "ConstantOfShape 'fill'"),
        ("[grow] zeros = Expand (zero, s)", "int64[3] s = {1, 3, 8}, float zero = {0}", "Expand 'grow'"),
    ],
    ids=["constant", "constant-of-shape", "expand"],
)
def test_zero_states_of_a_fixed_batch_are_found(told: Told, maker: str, constants: str, node: str) -> None:
    text = f"""g (float[T,B,5] x, float[1,24,5] w, float[1,24,8] r) => (float[T,1,B,8] y)
        <{constants}> {{ {maker}
            [rnn] y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r, "", "", zeros) }}"""
    if "zeros = {0}" in constants:
        text = text.replace("{0}", "{" + ",".join("0" * 24) + "}")
    (found,) = told(text, *BAKED)
    assert (found.rule, found.severity, found.node) == ("baked-batch", "error", node)
    assert "batch length 3" in found.message


@pytest.mark.parametrize(("zero", "found"), [("", True), ("float zero", False)], ids=["constant", "input"])
def test_an_expand_to_one_fixes_the_batch_of_a_constant_alone(told: Told, zero: str, found: bool) -> None:
    constant = "" if zero else ", float zero = {0}"
    text = f"""g (float[T,B,5] x, float[1,24,5] w, float[1,24,8] r{", " * bool(zero)}{zero}) => (float[T,1,B,8] y)
        <int64[3] s = {{1, 1, 8}}{constant}> {{
            [grow] zeros = Expand (zero, s)
            y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r, "", "", zeros) }}"""
    assert [own.node for own in told(text, *BAKED)] == ["Expand 'grow'"] * found


def test_zero_states_of_the_inputs_batch_are_no_finding(told: Told) -> None:
    text = """g (float[T,B,5] x, float[1,24,5] w, float[1,24,8] r) => (float[T,1,B,8] y)
        <int64[1] one = {1}, int64[1] eight = {8}, float zero = {0}> {
            size = Shape <start = 1, end = 2> (x)
            s = Concat <axis = 0> (one, size, eight)
            zeros = Expand (zero, s)
            y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r, "", "", zeros) }"""
    assert told(text, *BAKED) == []


@pytest.mark.parametrize(
    ("dims", "states", "expected"),
    [
        ("T,B", False, []),
        ("5,B", False, ["warning baked-time"]),
        ("T,3", False, ["warning baked-batch"]),
        ("T,1", False, ["info baked-batch"]),
        ("1,B", False, ["warning baked-time"]),
        ("1,B", True, ["info baked-time"]),
        ("1,1", True, ["info baked-time", "info baked-batch"]),
    ],
)
def test_an_input_with_a_fixed_length_is_named(told: Told, dims: str, states: bool, expected: list[str]) -> None:
    batch = dims.partition(",")[2]
    h0 = f", float[1,{batch},8] h0" if states else ""
    text = f"""g (float[{dims},5] x, float[1,24,5] w, float[1,24,8] r{h0}) => (float[a,b,c,d] y)
        {{ y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r{', "", "", h0' if states else ""}) }}"""
    found = [own for own in told(text, *BAKED) if own.node == "input 'x'"]
    assert [f"{own.severity} {own.rule}" for own in found] == expected


def test_where_the_inputs_fix_a_length_its_constants_are_no_errors(told: Told) -> None:
    text = encoder(f"{TURNED}\n[flat] out = Reshape (moved, s)", "int64[3] s = {5, -1, 16}", x="float[5,B,5] x")
    of_input, of_reshape = told(text, "baked-time")
    assert (of_input.severity, of_input.node) == ("warning", "input 'x'")
    assert (of_reshape.severity, of_reshape.node) == ("warning", "Reshape 'flat'")
    assert of_reshape.message.endswith("the model's inputs fix it too")


def test_batch_first_names_the_lengths_in_their_own_order(told: Told) -> None:
    before = "seq = Transpose <perm = [1, 0, 2]> (x)"
    text = encoder("out = Identity (hn)", x="float[4,T,5] x", before=before, source="seq").replace("[2,B,8]", "[2,4,8]")
    found = told(text, *BAKED)
    assert {(own.rule, own.node) for own in found} == {("baked-batch", f"input {name!r}") for name in ("x", "h0", "c0")}


def test_an_output_that_declares_a_length_the_graph_does_not_have_is_a_warning(told: Told) -> None:
    text = """g (float[T,B,5] x, float[1,24,5] w, float[1,24,8] r) => (float[7,1,B,8] y)
        { y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r) }"""
    (found,) = told(text, *BAKED)
    assert (found.rule, found.severity, found.node) == ("baked-time", "warning", "output 'y'")


@pytest.mark.parametrize(
    ("dims", "severity"), [("B,1,8,20", "info"), ("B,1,8,W", "warning"), ("B,1,8,20,W", "warning")]
)
def test_behind_a_convolution_a_length_counts_as_free_where_two_dims_are(told: Told, dims: str, severity: str) -> None:
    text = f"""g (float[{dims}] image, float[1,24,16] w, float[1,24,8] r) => (float[a,b,c,d] y)
        <int64[3] s = {{10, -1, 16}}> {{
            features = MaxPool <kernel_shape = [2, 2]> (image)
            [front] x = Reshape (features, s)
            y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r) }}"""
    (found,) = told(text, *BAKED)
    assert (found.rule, found.severity, found.node) == ("baked-time", severity, "Reshape 'front'")


@pytest.mark.parametrize(("other", "severity"), [("float[B] more", "info"), ("float[C] more", "warning")])
def test_free_dims_of_one_name_count_once(told: Told, other: str, severity: str) -> None:
    text = f"""g (float[B,1,8,20] image, {other}, float[1,24,16] w, float[1,24,8] r) => (float[a,b,c,d] y)
        <int64[3] s = {{10, -1, 16}}> {{
            features = MaxPool <kernel_shape = [2, 2]> (image)
            x = Reshape (features, s)
            y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r) }}"""
    assert [own.severity for own in told(text, *BAKED)] == [severity]


def test_a_length_that_an_input_states_is_a_warning_beside_one_that_follows(told: Told) -> None:
    text = """g (float[3,1,8,20] image, float[1,3,8] h0, float[1,24,16] w, float[1,24,8] r) => (float[a,b,c,d] y)
        <int64[3] s = {10, 3, 16}> {
            features = MaxPool <kernel_shape = [2, 2]> (image)
            [front] x = Reshape (features, s)
            y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r, "", "", h0) }"""
    assert {(own.rule, own.severity, own.node) for own in told(text, *BAKED)} == {
        ("baked-batch", "warning", "input 'h0'"),
        ("baked-batch", "warning", "Reshape 'front'"),
        ("baked-time", "info", "Reshape 'front'"),
    }


def test_bands_are_neither_time_nor_batch(told: Told) -> None:
    bands = """g (float[N,21] x, float[1,8,1] w, float[1,8,8] r) => (float[a,b,c,d] y) <int64[1] two = {2}> {
        u = Unsqueeze (x, two) t = Transpose <perm = [1, 0, 2]> (u) y = RNN <hidden_size = 8> (t, w, r) }"""
    assert [own.severity for own in told(bands, *BAKED)] == ["info"]
    caches = """g (float[4,1,5] x, float[1,1,8] h, float[33,4,5] z, float[1,4,8] k, float[1,8,5] w, float[1,8,8] r)
        => (float[a,b,c,d] y, float[a,b,c,d] v) {
        y = RNN <hidden_size = 8> (x, w, r, "", "", h) v = RNN <hidden_size = 8> (z, w, r, "", "", k) }"""
    assert {own.severity for own in told(caches, "baked-batch")} == {"info"}
