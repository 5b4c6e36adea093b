"""Right graphs with one thing broken between the nodes: states, lengths, time and batch, directions."""

from collections.abc import Callable

import numpy as np
from tests.examined_files import bases
from tests.examined_files.graph_text import GraphText, ints


def states_exchanged() -> GraphText:
    """h0 where c0 belongs, and the reverse."""
    return bases.stacked_lstm().edited(('"", h_1, c_1)', '"", c_1, h_1)'))


def final_states_exchanged() -> GraphText:
    """The outputs hn and cn under each other's names."""
    return bases.branches().edited(("y, hn, cn = If", "y, cn, hn = If"))


def chained_layers() -> GraphText:
    """The second layer starts from the first one's final state."""
    return bases.stacked_lstm().edited(('"", h_1, c_1)', '"", hn0, cn0)'))


def one_part_for_both_layers() -> GraphText:
    """Both layers take the first part of h0."""
    return bases.stacked_lstm().edited(('"", h_1, c_1)', '"", h_0, c_1)'))


def layers_in_reverse_order() -> GraphText:
    """hn holds the second layer's state first."""
    return bases.stacked_lstm().edited(("(hn0, hn1)", "(hn1, hn0)"))


def cell_state_left_out() -> GraphText:
    """h0 without c0."""
    return bases.function_layer().edited(('"", h, c)', '"", h)'))


def last_layer_alone() -> GraphText:
    """hn is the last layer's, although h0 holds both."""
    return bases.stacked_lstm().edited(
        ("hn = Concat <axis = 0> (hn0, hn1)", "hn = Identity (hn1)"), ("float[2,B,8] hn", "float[1,B,8] hn")
    )


def state_through_half() -> GraphText:
    """The state is rounded to float16 on its way out."""
    return bases.gru_stream().edited(
        ("[rnn] y, hn =", "[rnn] y, whole ="),
        ("s = Squeeze", "half = Cast <to = 10> (whole) hn = Cast <to = 1> (half) s = Squeeze"),
    )


def state_through_int8() -> GraphText:
    """The cell state is quantized on its way in, clipped at ±1."""
    base = bases.branches().edited(
        ("[rate] y", "q = QuantizeLinear (c0, scale, zero) c8 = DequantizeLinear (q, scale, zero) [rate] y")
    )
    return base.edited(("h0, c0)", "h0, c8)"), scale=np.float32(1 / 127), zero=np.int8(0))


def zeros_of_the_example() -> GraphText:
    """Zeros for three rows as the initial state, although the batch is free."""
    base = bases.gru_stream().edited((", float[1,batch,8] h0)", ")"))
    return base.edited(h0=np.zeros((1, 3, 8), np.float32))


def lengths_in_one_layer() -> GraphText:
    """The second layer runs over the padding."""
    return bases.tagger().edited(("(s0, W1, R1, B1, lengths)", "(s0, W1, R1, B1)"))


def lengths_unread() -> GraphText:
    """Nobody takes the lengths."""
    return bases.classifier().edited(("(x, W, R, B, lengths)", "(x, W, R, B)"))


def mean_over_padding() -> GraphText:
    """The mean of all steps, the padded ones too."""
    return bases.tagger().edited(
        ("scores = Add (p, bias)", "q = Add (p, bias) scores = ReduceMean <axes = [0], keepdims = 0> (q)"),
        ("float[T,B,3] scores", "float[B,3] scores"),
    )


def last_step_over_padding() -> GraphText:
    """The last step, which is padding for most rows."""
    return bases.tagger().edited(
        ("scores = Add (p, bias)", "q = Add (p, bias) scores = Gather <axis = 0> (q, minus)"),
        ("float[T,B,3] scores", "float[B,3] scores"),
        minus=np.int64(-1),
    )


def backward_half_of_the_last_step() -> GraphText:
    """The last step of both directions, where the backward one has just begun."""
    return bases.two_passes().edited(
        (
            "output = Concat <axis = 2> (s0, b1)",
            "both = Concat <axis = 2> (s0, b1) output = Gather <axis = 0> (both, minus)",
        ),
        ("float[T,B,16] output", "float[1,B,16] output"),
    )


def lengths_of_the_example() -> GraphText:
    """Lengths as a constant."""
    base = bases.classifier().edited((", int32[B] lengths)", ")"))
    return base.edited(lengths=np.array([7, 5, 2], np.int32))


def padding_first() -> GraphText:
    """The backward pass over padded rows by turning the whole sequence round, so that it starts in the padding."""
    return bases.two_passes().edited(
        ("(float[T,B,5] x)", "(float[T,B,5] x, int32[B] lengths)"),
        ("(x, W0, R0, B0)", "(x, W0, R0, B0, lengths)"),
        ("(r, W1, R1, B1)", "(r, W1, R1, B1, lengths)"),
    )


def batch_turned_round() -> GraphText:
    """The backward pass turns the batch round instead of the time."""
    return bases.two_passes().edited(
        ("[flip] r = Slice (x, minus, least, zero, minus)", "[flip] r = Slice (x, minus, least, one, minus)")
    )


def never_turned_back() -> GraphText:
    """The backward pass's output stays in its own order."""
    return bases.two_passes().edited(
        ("(s0, b1)", "(s0, s1)"), ("[back] b1 = Slice (s1, minus, least, zero, minus)", "")
    )


def rows_joined() -> GraphText:
    """Directions joined with the batch between them."""
    return bases.tagger().edited(("[join] s1 = Reshape (t1, joined)", "[join] s1 = Reshape (y1, joined)"), (
        "t1 = Transpose <perm = [0, 2, 1, 3]> (y1)", ""))  # fmt: skip


def transpose_forgotten() -> GraphText:
    """A batch-first input goes into the layer as it comes."""
    return bases.gru_stream().edited(
        ("t = Transpose <perm = [1, 0, 2]> (x)", ""), ('(t, W, R, B, "", h0)', '(x, W, R, B)'),
        ("output = Transpose <perm = [1, 0, 2]> (s)", "output = Identity (s)"), (", float[1,batch,8] h0)", ")"),
        ("float[1,batch,8] hn", "float[1,time,8] hn"),
    )  # fmt: skip


def time_of_the_example() -> GraphText:
    """A Reshape with the example's seven steps."""
    return bases.tagger().edited(joined=ints(7, -1, 16))


def step_by_number() -> GraphText:
    """The last step of the example, by its number."""
    return bases.plain_rnn().edited(minus=np.int64(6))


def output_of_fixed_time() -> GraphText:
    """An output that promises the example's time."""
    return bases.tagger().edited(("float[T,B,3] scores", "float[7,B,3] scores"))


BROKEN: dict[Callable[[], GraphText], tuple[str, ...]] = {
    states_exchanged: ("states-crossed",),
    final_states_exchanged: ("states-crossed",),
    chained_layers: ("state-from-layer",),
    one_part_for_both_layers: ("states-crossed",),
    layers_in_reverse_order: ("states-crossed",),
    cell_state_left_out: ("half-state",),
    last_layer_alone: ("states-unpaired",),
    state_through_half: ("state-rounded",),
    state_through_int8: ("state-rounded",),
    zeros_of_the_example: ("baked-batch",),
    lengths_in_one_layer: ("lengths-partial",),
    lengths_unread: ("lengths-ignored",),
    mean_over_padding: ("padding-read",),
    last_step_over_padding: ("padding-read",),
    backward_half_of_the_last_step: ("backward-start",),
    lengths_of_the_example: ("lengths-constant",),
    padding_first: ("padding-first",),
    batch_turned_round: ("batch-turned",),
    never_turned_back: ("backward-order",),
    rows_joined: ("directions-interleaved",),
    transpose_forgotten: ("dims-swapped",),
    time_of_the_example: ("baked-time",),
    step_by_number: ("baked-time",),
    output_of_fixed_time: ("baked-time",),
}
"""Each with the rules of which one names what is broken."""
