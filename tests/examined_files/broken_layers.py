"""Right graphs with one thing broken in a recurrent node: its shapes, attributes, types, weights."""

from collections.abc import Callable

import numpy as np
from tests.examined_files import bases
from tests.examined_files.graph_text import Draw, GraphText

_DRAW = Draw(chance=np.random.default_rng(1))


def half_a_bias() -> GraphText:
    """B holds the input's bias alone, as a converter that adds PyTorch's two biases writes it."""
    base = bases.stacked_lstm()
    return base.edited(B1=base.constants["B1"][:, :32])


def recurrent_weight_transposed() -> GraphText:
    """R as (H, 3·H), the way Keras stores it."""
    base = bases.gru_stream()
    return base.edited(R=np.ascontiguousarray(base.constants["R"].transpose(0, 2, 1)))


def activations_of_one_direction() -> GraphText:
    """A bidirectional node with the activations of one direction alone."""
    return bases.classifier().edited(
        ("linear_before_reset = 1", 'linear_before_reset = 1, activations = ["Sigmoid", "Tanh"]')
    )


def direction_lost() -> GraphText:
    """The weights of both directions, and no attribute that says so."""
    return bases.tagger().edited(('(s0, W1, R1, B1, lengths)', '(s0, W1, R1, B1, lengths)'), (
        'y1 = LSTM <hidden_size = 8, direction = "bidirectional">', "y1 = LSTM <hidden_size = 8>"))  # fmt: skip


def state_without_directions() -> GraphText:
    """h0 as (B, H), as a cell takes it."""
    return bases.gru_stream().edited(("float[1,batch,8] h0", "float[batch,8] h0"))


def lengths_as_int64() -> GraphText:
    """The lengths in PyTorch's own type."""
    return bases.classifier().edited(("int32[B] lengths", "int64[B] lengths"))


def peepholes_of_four_gates() -> GraphText:
    """P with a row for each gate, where the candidate has none."""
    old, new = '"", h_0, c_0)', '"", h_0, c_0, P)'
    return bases.stacked_lstm().edited((old, new), P=_DRAW.uniform((1, 32)))


def bias_in_half() -> GraphText:
    """float16 in one of the weights of a float32 layer."""
    base = bases.plain_rnn()
    return base.edited(B=base.constants["B"].astype(np.float16))


def layout_in_a_function() -> GraphText:
    """layout=1, inside a local function."""
    return bases.function_layer().edited(("LSTM <hidden_size = 8>", "LSTM <hidden_size = 8, layout = 1>"))


def branch_of_another_size() -> GraphText:
    """One branch of an If with the weights of a wider layer."""
    wider = {f"{name}0": value for name, value in Draw().layer(4, 5, 12).items()}
    return bases.branches().edited(**wider)


def reset_before() -> GraphText:
    """A GRU of PyTorch whose exporter left linear_before_reset out."""
    base = bases.classifier().edited((", linear_before_reset = 1", ""))
    return GraphText(text=base.text, constants=base.constants, producer="pytorch")


def scaled_tanh_without_parameters() -> GraphText:
    """An activation with parameters that are left to their defaults."""
    return bases.plain_rnn().edited(("RNN <hidden_size = 8>", 'RNN <hidden_size = 8, activations = ["ScaledTanh"]>'))


def infinite_bias() -> GraphText:
    """One infinity in a bias."""
    base = bases.gru_stream()
    bias = base.constants["B"].copy()
    bias[0, 3] = np.inf
    return base.edited(B=bias)


def head_not_finite() -> GraphText:
    """NaN in the head behind the layers."""
    base = bases.tagger()
    head = base.constants["head"].copy()
    head[2] = np.nan
    return base.edited(head=head)


def step_not_finite() -> GraphText:
    """NaN in the recurrent product of a step that is written out."""
    base = bases.scan_lstm()
    weight = base.constants["R"].copy()
    weight[0, 0] = np.nan
    return base.edited(R=weight)


def recurrence_of_zeros() -> GraphText:
    """R of zeros: a checkpoint whose recurrent weights were never loaded."""
    base = bases.two_passes()
    return base.edited(R1=np.zeros_like(base.constants["R1"]))


def directions_with_one_weight() -> GraphText:
    """The forward direction's weights in both halves."""
    base = bases.classifier()
    return base.edited(**{name: np.concatenate([base.constants[name][:1]] * 2) for name in ("W", "R", "B")})


def layers_with_one_weight() -> GraphText:
    """The second layer with the first one's recurrent weights."""
    return bases.stacked_lstm().edited(("s0, W1, R1, B1", "s0, W1, R0, B1"))


def gates_of_pytorch() -> GraphText:
    """Gates in PyTorch's order i, f, g, o, where ONNX has i, o, f, c."""
    base = bases.branches()
    order = np.r_[0:8, 16:24, 24:32, 8:16]
    return base.edited(**{f"{name}0": base.constants[f"{name}0"][:, order] for name in "WR"})


def computed_in_float64() -> GraphText:
    """The layer in float64, between casts."""
    base = bases.plain_rnn()
    pairs = (
        ('(x, W, R, B, "", h0)', '(xd, W, R, B, "", hd)'),
        ("[rnn] y, hn =", "xd = Cast <to = 11> (x) hd = Cast <to = 11> (h0) [rnn] yd, hnd ="),
        ("s = Squeeze", "y = Cast <to = 1> (yd) hn = Cast <to = 1> (hnd) s = Squeeze"),
    )
    return base.edited(*pairs, **{name: base.constants[name].astype(np.float64) for name in "WRB"})


BROKEN: dict[Callable[[], GraphText], tuple[str, ...]] = {
    half_a_bias: ("recurrent-shapes",),
    recurrent_weight_transposed: ("recurrent-shapes",),
    activations_of_one_direction: ("recurrent-shapes", "not-loadable"),
    direction_lost: ("recurrent-shapes",),
    state_without_directions: ("recurrent-shapes",),
    lengths_as_int64: ("sequence-lens-type",),
    peepholes_of_four_gates: ("recurrent-shapes",),
    bias_in_half: ("recurrent-types",),
    layout_in_a_function: ("layout",),
    branch_of_another_size: ("recurrent-shapes",),
    reset_before: ("gru-reset-before",),
    scaled_tanh_without_parameters: ("activation-parameters",),
    infinite_bias: ("weights-not-finite",),
    head_not_finite: ("weights-not-finite",),
    step_not_finite: ("weights-not-finite",),
    recurrence_of_zeros: ("weights-zero",),
    directions_with_one_weight: ("weights-repeated",),
    layers_with_one_weight: ("weights-repeated",),
    gates_of_pytorch: ("gate-order",),
    computed_in_float64: ("float64", "float64-recurrence"),
}
"""Each with the rules of which one names what is broken."""
