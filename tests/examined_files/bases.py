"""Right graphs made by hand, from which `broken_*.py` make the broken ones: shapes that recurrent files have."""

from collections.abc import Callable

import numpy as np
from tests.examined_files.graph_text import Draw, GraphText, ints

ONE, LAST = ints(1), ints(-1)


def stacked_lstm() -> GraphText:
    """Two LSTM layers with their states as inputs and outputs."""
    draw = Draw()
    text = """stacked (float[T,B,5] x, float[2,B,8] h0, float[2,B,8] c0)
        => (float[T,B,8] output, float[2,B,8] hn, float[2,B,8] cn) {
        h_0, h_1 = Split <axis = 0> (h0)
        c_0, c_1 = Split <axis = 0> (c0)
        [first] y0, hn0, cn0 = LSTM <hidden_size = 8> (x, W0, R0, B0, "", h_0, c_0)
        s0 = Squeeze (y0, one)
        [second] y1, hn1, cn1 = LSTM <hidden_size = 8> (s0, W1, R1, B1, "", h_1, c_1)
        output = Squeeze (y1, one)
        hn = Concat <axis = 0> (hn0, hn1)
        cn = Concat <axis = 0> (cn0, cn1) }"""
    weights = {**draw.layer(4, 5, 8, suffix="0"), **draw.layer(4, 8, 8, suffix="1")}
    return GraphText(text=text, constants={**weights, "one": ONE})


def tagger() -> GraphText:
    """Two bidirectional layers over padded rows with a head on every step."""
    draw = Draw()
    text = """tagger (float[T,B,5] x, int32[B] lengths) => (float[T,B,3] scores) {
        [first] y0 = LSTM <hidden_size = 8, direction = "bidirectional"> (x, W0, R0, B0, lengths)
        t0 = Transpose <perm = [0, 2, 1, 3]> (y0)
        s0 = Reshape (t0, joined)
        [second] y1 = LSTM <hidden_size = 8, direction = "bidirectional"> (s0, W1, R1, B1, lengths)
        t1 = Transpose <perm = [0, 2, 1, 3]> (y1)
        [join] s1 = Reshape (t1, joined)
        p = MatMul (s1, head)
        scores = Add (p, bias) }"""
    weights = {**draw.layer(4, 5, 8, 2, "0"), **draw.layer(4, 16, 8, 2, "1")}
    head = {"head": draw.uniform((16, 3)), "bias": draw.uniform((3,))}
    return GraphText(text=text, constants={**weights, **head, "joined": ints(0, 0, 16)})


def classifier() -> GraphText:
    """A bidirectional GRU over padded rows, judged by its final states."""
    draw = Draw()
    text = """classifier (float[T,B,5] x, int32[B] lengths) => (float[B,3] probabilities) {
        [rnn] y, hn = GRU <hidden_size = 8, direction = "bidirectional", linear_before_reset = 1> (x, W, R, B, lengths)
        t = Transpose <perm = [1, 0, 2]> (hn)
        j = Reshape (t, joined)
        p = Gemm (j, head, bias)
        probabilities = Softmax <axis = -1> (p) }"""
    head = {"head": draw.uniform((16, 3)), "bias": draw.uniform((3,)), "joined": ints(0, 16)}
    return GraphText(text=text, constants={**draw.layer(3, 5, 8, 2), **head})


def gru_stream() -> GraphText:
    """One GRU with its state as input and output, batch first on the outside."""
    text = """stream (float[batch,time,5] x, float[1,batch,8] h0) => (float[batch,time,8] output, float[1,batch,8] hn) {
        t = Transpose <perm = [1, 0, 2]> (x)
        [rnn] y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (t, W, R, B, "", h0)
        s = Squeeze (y, one)
        output = Transpose <perm = [1, 0, 2]> (s) }"""
    return GraphText(text=text, constants={**Draw().layer(3, 5, 8), "one": ONE})


def plain_rnn() -> GraphText:
    """One RNN with tanh, of which the last step alone is wanted."""
    draw = Draw()
    text = """plain (float[T,B,5] x, float[1,B,8] h0) => (float[B,3] scores, float[1,B,8] hn) {
        [rnn] y, hn = RNN <hidden_size = 8> (x, W, R, B, "", h0)
        s = Squeeze (y, one)
        last = Gather <axis = 0> (s, minus)
        scores = Gemm (last, head, bias) }"""
    head = {"head": draw.uniform((8, 3)), "bias": draw.uniform((3,))}
    return GraphText(text=text, constants={**draw.layer(1, 5, 8), **head, "one": ONE, "minus": np.int64(-1)})


def two_passes() -> GraphText:
    """A bidirectional layer as two forward ones, the second over the sequence from its end."""
    draw = Draw()
    text = """passes (float[T,B,5] x) => (float[T,B,16] output) {
        [forward] y0 = GRU <hidden_size = 8, linear_before_reset = 1> (x, W0, R0, B0)
        [flip] r = Slice (x, minus, least, zero, minus)
        [backward] y1 = GRU <hidden_size = 8, linear_before_reset = 1> (r, W1, R1, B1)
        s0 = Squeeze (y0, one)
        s1 = Squeeze (y1, one)
        [back] b1 = Slice (s1, minus, least, zero, minus)
        output = Concat <axis = 2> (s0, b1) }"""
    weights = {**draw.layer(3, 5, 8, suffix="0"), **draw.layer(3, 5, 8, suffix="1")}
    places = {"one": ONE, "minus": LAST, "least": ints(-(2**62)), "zero": ints(0)}
    return GraphText(text=text, constants={**weights, **places})


def front_end() -> GraphText:
    """Features by convolution and pooling in front of an LSTM, an attention over its steps behind it."""
    draw = Draw()
    text = """front (float[B,5,N] x) => (float[B,M,8] output) {
        c = Conv <kernel_shape = [3], pads = [1, 1]> (x, kernel)
        [pool] m = MaxPool <kernel_shape = [2], strides = [2]> (c)
        t = Transpose <perm = [2, 0, 1]> (m)
        [rnn] y = LSTM <hidden_size = 8> (t, W, R, B)
        s = Squeeze (y, one)
        values = Transpose <perm = [1, 0, 2]> (s)
        keys = Transpose <perm = [1, 2, 0]> (s)
        products = MatMul (values, keys)
        [mask] seen = Trilu <upper = 0> (products)
        shares = Softmax <axis = -1> (seen)
        output = MatMul (shares, values) }"""
    return GraphText(text=text, constants={**draw.layer(4, 6, 8), "kernel": draw.uniform((6, 5, 3)), "one": ONE})


def lstm_step() -> GraphText:
    """One LSTM step written out, its states in and out."""
    draw = Draw()
    weights = {"W": draw.uniform((5, 32)), "R": draw.uniform((8, 32)), "b": draw.uniform((32,))}
    text = "step (float[B,5] x, float[B,8] h, float[B,8] c) => (float[B,8] hn, float[B,8] cn) {" + _CELL + "}"
    return GraphText(text=text, constants=weights)


_CELL = """
        a = MatMul (x, W)
        u = MatMul (h, R)
        s = Add (a, u)
        g = Add (s, b)
        p_i, p_f, p_n, p_o = Split <axis = -1> (g)
        i = Sigmoid (p_i)
        f = Sigmoid (p_f)
        n = Tanh (p_n)
        o = Sigmoid (p_o)
        kept = Mul (f, c)
        new = Mul (i, n)
        [cell] cn = Add (kept, new)
        t = Tanh (cn)
        [hidden] hn = Mul (o, t)
"""


def decoder_loop() -> GraphText:
    """A decoder that feeds its own output back, as many steps as it is told."""
    draw = Draw()
    text = (
        """decoder (float[B,5] x0, float[B,8] h0, float[B,8] c0, int64 steps)
        => (float[N,B,5] output, float[B,8] hn, float[B,8] cn) {
        go_on = Constant <value = bool {1}> ()
        [walk] last, hn, cn, output = Loop <body = step (int64 k, bool go, float[B,5] x, float[B,8] h, float[B,8] c)
            => (bool go_out, float[B,5] next_x, float[B,8] next_h, float[B,8] next_c, float[B,5] shown) {
            go_out = Identity (go)"""
        + _CELL.replace("cn", "next_c").replace("hn", "next_h")
        + """
            next_x = MatMul (next_h, out)
            shown = Identity (next_x) }> (steps, go_on, x0, h0, c0) }"""
    )
    weights = {"W": draw.uniform((5, 32)), "R": draw.uniform((8, 32)), "b": draw.uniform((32,))}
    return GraphText(text=text, constants={**weights, "out": draw.uniform((8, 5))})


def scan_lstm() -> GraphText:
    """An LSTM with its step in a Scan."""
    draw = Draw()
    text = (
        """scanned (float[T,B,5] x, float[B,8] h0, float[B,8] c0)
        => (float[B,8] hn, float[B,8] cn, float[T,B,8] output) {
        [scan] hn, cn, output = Scan <num_scan_inputs = 1, body = step (float[B,8] h, float[B,8] c, float[B,5] x_t)
            => (float[B,8] next_h, float[B,8] next_c, float[B,8] shown) {"""
        + _CELL.replace("cn", "next_c").replace("hn", "next_h").replace("(x,", "(x_t,")
        + """
            shown = Identity (next_h) }> (h0, c0, x) }"""
    )
    weights = {"W": draw.uniform((5, 32)), "R": draw.uniform((8, 32)), "b": draw.uniform((32,))}
    return GraphText(text=text, constants=weights)


def branches() -> GraphText:
    """Two LSTMs for two sampling rates, of which an If runs one."""
    draw = Draw()
    text = """rates (float[T,B,5] x, bool fast, float[1,B,8] h0, float[1,B,8] c0)
        => (float[T,1,B,8] y, float[1,B,8] hn, float[1,B,8] cn) {
        [rate] y, hn, cn = If (fast) <
            then_branch = high () => (float[T,1,B,8] y1, float[1,B,8] h1, float[1,B,8] c1) {
                [high_rnn] y1, h1, c1 = LSTM <hidden_size = 8> (x, W0, R0, B0, "", h0, c0) },
            else_branch = low () => (float[T,1,B,8] y2, float[1,B,8] h2, float[1,B,8] c2) {
                [low_rnn] y2, h2, c2 = LSTM <hidden_size = 8> (x, W1, R1, B1, "", h0, c0) }> }"""
    return GraphText(text=text, constants={**draw.layer(4, 5, 8, suffix="0"), **draw.layer(4, 5, 8, suffix="1")})


def function_layer() -> GraphText:
    """A layer as a local function that the graph calls."""
    text = """called (float[T,B,5] x, float[1,B,8] h0, float[1,B,8] c0)
        => (float[T,1,B,8] y, float[1,B,8] hn, float[1,B,8] cn) {
        y, hn, cn = local.layer (x, W, R, B, h0, c0) }"""
    functions = """<domain: "local", opset_import: ["" : 17]>
        layer (X, W, R, B, h, c) => (Y, Yh, Yc) { Y, Yh, Yc = LSTM <hidden_size = 8> (X, W, R, B, "", h, c) }"""
    return GraphText(text=text, functions=functions, constants=Draw().layer(4, 5, 8))


def written_steps() -> GraphText:
    """A plain recurrence of three steps that were written out, for sequences of three steps."""
    draw = Draw()
    steps = "".join(
        f"""
        x{k} = Gather <axis = 0> (x, at{k})
        a{k} = MatMul (x{k}, W)
        u{k} = MatMul (h{k}, R)
        s{k} = Add (a{k}, u{k})
        h{k + 1} = Tanh (s{k})"""
        for k in range(3)
    )
    text = "written (float[3,B,5] x, float[B,8] h0) => (float[B,8] h3) {" + steps + "}"
    places = {f"at{k}": np.int64(k) for k in range(3)}
    return GraphText(text=text, constants={"W": draw.uniform((5, 8)), "R": draw.uniform((8, 8)), **places})


_MAKERS: tuple[Callable[[], GraphText], ...] = (
    stacked_lstm, tagger, classifier, gru_stream, plain_rnn, two_passes, front_end, lstm_step, decoder_loop, scan_lstm,
    branches, function_layer, written_steps,
)  # fmt: skip

BASES = {make.__name__.replace("_", "-"): make for make in _MAKERS}
