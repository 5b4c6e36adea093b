"""ONNX files as other exporters write them, from text, with seeded weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

LSTM_WEIGHTS = {"w": (1, 32, 5), "r": (1, 32, 8), "b": (1, 64)}
GRU_WEIGHTS = {"w": (1, 24, 5), "r": (1, 24, 8), "b": (1, 48)}

_OTHERS = {"k": (3, 5, 3), "wx": (8, 32), "wx5": (5, 32), "wh": (8, 32)}

STATES = """g (float[T,N,5] x, float[1,N,8] h0, float[1,N,8] c0) => (float[T,N,8] y, float[1,N,8] hn, float[1,N,8] cn) {
    whole, hn, cn = LSTM <hidden_size = 8> (x, w, r, b, "", h0, c0)
    y = Squeeze (whole, one) }"""
"""An LSTM with its states as inputs and outputs."""

STACKED = """g (float[T,N,5] x, float[2,N,8] memory) => (float[T,N,8] y, float[2,N,8] kept) {
    h0, c0 = Split <axis = 0> (memory, halves)
    whole, hn, cn = LSTM <hidden_size = 8> (x, w, r, b, "", h0, c0)
    kept = Concat <axis = 0> (hn, cn)
    y = Squeeze (whole, one) }"""
"""Both states of an LSTM in one tensor, of which no name tells."""

CACHE = """g (float[N,5,T] x, float[N,5,2] past) => (float[N,3,T] y, float[N,5,2] following) {
    joined = Concat <axis = 2> (past, x)
    y = Conv <kernel_shape = [3]> (joined, k)
    following = Slice (joined, minus_two, end, two) }"""
"""A causal convolution that is given the frames before and gives the last ones."""

LENGTHS = """g (float[T,N,5] x, int32[N] n_frames) => (float[T,N,8] y, float[1,N,8] last) {
    whole, last, cell = LSTM <hidden_size = 8> (x, w, r, b, n_frames)
    y = Squeeze (whole, one) }"""

PLAIN = "g (float[N,5] x) => (float[N,5] y) { z = Relu (x)\n y = Add (z, x) }"
"""Nothing recurrent."""


def foreign_model(
    text: str,
    weights: Mapping[str, Sequence[int]] = LSTM_WEIGHTS,
    constants: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> onnx.ModelProto:
    """The model of a graph's text; weights that it reads are normal ones of these shapes, constants small integers."""
    graph = parser.parse_graph(text)
    chance = np.random.default_rng(seed)
    read = {name for node in graph.node for name in node.input}
    for name, shape in {**weights, **_OTHERS}.items():
        if name in read and name not in {own.name for own in graph.initializer}:
            values = chance.standard_normal(shape).astype(np.float32) / 2
            graph.initializer.append(numpy_helper.from_array(values, name))
    quarters = {"quarters": [8, 8, 8, 8]}
    named = {
        **quarters,
        "one": [1],
        "two": [2],
        "minus_two": [-2],
        "end": [2**31 - 1],
        "halves": [1, 1],
        **(constants or {}),
    }
    for name, integers in named.items():
        if name in read:
            graph.initializer.append(numpy_helper.from_array(np.array(integers, np.int64), name))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="another")
    model.ir_version = 8
    return model


def write(path: Path, text: str, **parts: Mapping[str, Sequence[int]]) -> Path:
    """Write the model of a graph's text."""
    path.write_bytes(foreign_model(text, **parts).SerializeToString())  # type: ignore[arg-type]
    return path
