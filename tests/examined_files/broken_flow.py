"""Right graphs with one thing broken in loops, in steps that are written out, or for one backend alone."""

from collections.abc import Callable

import numpy as np
from tests.examined_files import bases
from tests.examined_files.graph_text import GraphText


def ends_when_told() -> GraphText:
    """A decoder that can stop early and collects its outputs."""
    return bases.decoder_loop().edited(
        ("go_out = Identity (go)", "peak = ReduceMax <keepdims = 0> (next_x) go_out = Less (peak, limit)"),
        limit=np.float32(3),
    )


def steps_without_limit() -> GraphText:
    """A loop that has a condition and no limit."""
    return bases.decoder_loop().edited(
        ("(steps, go_on, x0", '("", go_on, x0'), ("go_out = Identity (go)", "go_out = Less (k, steps)")
    )


def loop_that_never_runs() -> GraphText:
    """A loop whose first condition is false."""
    return bases.decoder_loop().edited(("bool {1}", "bool {0}"))


def steps_of_the_example() -> GraphText:
    """A loop over a given sequence that always makes seven steps."""
    base = bases.decoder_loop().edited(
        ("float[B,5] x0,", "float[T,B,5] given,"),
        (", int64 steps)", ")"),
        ("float[N,B,5] output", "float[T,B,8] output"),
        ("last, hn, cn, output = Loop", "hn, cn, output = Loop"),
        ("float[B,5] x, float[B,8] h", "float[B,8] h"),
        ("float[B,5] next_x, float[B,8] next_h", "float[B,8] next_h"),
        ("float[B,5] shown)", "float[B,8] shown)"),
        ("next_x = MatMul (next_h, out)", "x = Gather <axis = 0> (given, k)"),
        ("shown = Identity (next_x)", "shown = Identity (next_h)"),
        ("(steps, go_on, x0, h0, c0)", "(steps, go_on, h0, c0)"),
    )
    base = base.edited(("go_out = Identity (go)", "go_out = Identity (go) x = Gather <axis = 0> (given, k)"))
    head, _, tail = base.text.rpartition("x = Gather <axis = 0> (given, k)")
    constants = {name: value for name, value in base.constants.items() if name != "out"}
    return GraphText(text=head + tail, constants={**constants, "steps": np.int64(7)})


def scanned_backwards() -> GraphText:
    """A Scan from the end of x whose output is written from the beginning."""
    return bases.scan_lstm().edited(
        ("num_scan_inputs = 1,", "num_scan_inputs = 1, scan_input_directions = [1],"))  # fmt: skip


def scanned_over_rows() -> GraphText:
    """A Scan that goes over the rows of a batch-first input."""
    return bases.scan_lstm().edited(
        ("(float[T,B,5] x, float[B,8] h0, float[B,8] c0)", "(float[batch,seq,5] x, float[seq,8] h0, float[seq,8] c0)"),
        (
            "(float[B,8] hn, float[B,8] cn, float[T,B,8] output)",
            "(float[seq,8] hn, float[seq,8] cn, float[batch,seq,8] output)",
        ),
    )


def layer_in_a_scan() -> GraphText:
    """A recurrent operator in the body of a Scan."""
    base = bases.branches()
    text = """scanned (float[N,T,B,5] x, float[1,B,8] h0, float[1,B,8] c0)
        => (float[1,B,8] hn, float[1,B,8] cn, float[N,T,1,B,8] y) {
        hn, cn, y = Scan <num_scan_inputs = 1, body = chunk (float[1,B,8] h, float[1,B,8] c, float[T,B,5] x_n)
            => (float[1,B,8] next_h, float[1,B,8] next_c, float[T,1,B,8] shown) {
            [inner] shown, next_h, next_c = LSTM <hidden_size = 8> (x_n, W0, R0, B0, "", h, c) }> (h0, c0, x) }"""
    return GraphText(text=text, constants={name: base.constants[name] for name in ("W0", "R0", "B0")})


def outputs_in_a_sequence() -> GraphText:
    """A loop that collects its outputs in a sequence of tensors."""
    return bases.decoder_loop().edited(
        ("[walk] last, hn, cn, output = Loop", "none = SequenceEmpty () [walk] last, hn, cn, all = Loop"),
        ("float[B,8] c)", "float[B,8] c, seq(float[B,5]) seen)"),
        ("float[B,5] shown)", "seq(float[B,5]) shown)"),
        ("shown = Identity (next_x)", "shown = SequenceInsert (seen, next_x)"),
        ("x0, h0, c0) }", "x0, h0, c0, none) output = ConcatFromSequence <axis = 0, new_axis = 1> (all) }"),
    )


def time_of_written_steps() -> GraphText:
    """A plain recurrence written out for three steps of a sequence of any length."""
    return bases.written_steps().edited(("float[3,B,5] x", "float[T,B,5] x"))


def step_left_out() -> GraphText:
    """A written recurrence whose third step starts from the first one's state."""
    return bases.written_steps().edited(("u2 = MatMul (h2, R)", "u2 = MatMul (h1, R)"))


def gates_exchanged() -> GraphText:
    """A written step whose candidate goes through the sigmoid and a gate through the tanh."""
    return bases.lstm_step().edited(("i = Sigmoid (p_i)", "i = Tanh (p_i)"), ("n = Tanh (p_n)", "n = Sigmoid (p_n)"))


def written_states_exchanged() -> GraphText:
    """A written step that gives hn and cn back under each other's names."""
    return bases.lstm_step().edited(("[cell] cn =", "[cell] new_c ="), ("t = Tanh (cn)", "t = Tanh (new_c)"), (
        "[hidden] hn = Mul (o, t)", "[hidden] cn = Mul (o, t) hn = Identity (new_c)"))  # fmt: skip


def mask_without_side() -> GraphText:
    """A mask that leaves its side to the operator's default, where the lower one was meant or not."""
    return bases.front_end().edited(("Trilu <upper = 0>", "Trilu"))


def pooling_that_rounds_up() -> GraphText:
    """Pooling with ceil_mode, whose last window can lie in the padding."""
    return bases.front_end().edited(("strides = [2]>", "strides = [3], pads = [1, 1], ceil_mode = 1>"))


def resized_half_pixels() -> GraphText:
    """Features brought to another rate with pytorch_half_pixel."""
    return bases.front_end().edited(
        (
            "c = Conv",
            'wide = Resize <mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"> (x, "", scales) '
            "c = Conv",
        ),
        ("(x, kernel)", "(wide, kernel)"),
        scales=np.array([1, 1, 0.5], np.float32),
    )


def operator_of_onnxruntime() -> GraphText:
    """What a graph optimizer fused."""
    return bases.tagger().edited(("scores = Add (p, bias)", "scores = com.microsoft.BiasGelu (p, bias)"))


def quantized_head() -> GraphText:
    """A head in int8, as quantize_dynamic writes it."""
    base = bases.tagger()
    return base.edited(
        ("p = MatMul (s1, head)",
         "q, s, z = DynamicQuantizeLinear (s1) i = MatMulInteger (q, head, z) n = Cast <to = 1> (i) "
         "f = Mul (s, step) p = Mul (n, f)"),
        head=(base.constants["head"] * 100).astype(np.int8), step=np.float32(0.01),
    )  # fmt: skip


def left_in_training() -> GraphText:
    """Dropout that still drops."""
    return bases.tagger().edited(
        ("p = MatMul (s1, head)", "d = Dropout (s1, half, yes) p = MatMul (d, head)"),
        half=np.float32(0.5), yes=np.bool_(True),
    )  # fmt: skip


def squeezed_by_attribute() -> GraphText:
    """A Squeeze as opset 12 has it in a file of opset 17."""
    return bases.plain_rnn().edited(("s = Squeeze (y, one)", "s = Squeeze <axes = [1]> (y)"))


BROKEN: dict[Callable[[], GraphText], tuple[str, ...]] = {
    ends_when_told: ("loop-ends-early",),
    steps_without_limit: ("loop-no-limit",),
    loop_that_never_runs: ("loop-never-runs",),
    steps_of_the_example: ("baked-time",),
    scanned_backwards: ("backward-order",),
    scanned_over_rows: ("dims-swapped",),
    layer_in_a_scan: ("tensorrt-refused",),
    outputs_in_a_sequence: ("tensorrt-refused",),
    time_of_written_steps: ("baked-time",),
    step_left_out: ("step-left-out",),
    gates_exchanged: ("gates-exchanged",),
    written_states_exchanged: ("states-crossed",),
    mask_without_side: ("tensorrt-silent",),
    pooling_that_rounds_up: ("tensorrt-silent",),
    resized_half_pixels: ("tensorrt-silent",),
    operator_of_onnxruntime: ("tensorrt-refused",),
    quantized_head: ("tensorrt-refused",),
    left_in_training: ("training-mode",),
    squeezed_by_attribute: ("not-loadable", "invalid"),
}
"""Each with the rules of which one names what is broken."""
