from typing import Any

import pytest
import torch
from torch import nn

from rnnx.errors import OptionError
from rnnx.modules.example_inputs import described_inputs, own_example_inputs


def test_floats_are_normal_and_dims_are_named() -> None:
    described = described_inputs(["x:float32:B,T,40"])
    (x,) = described.tensors().values()
    assert x.shape == (3, 19, 40)
    assert x.dtype == torch.float32
    assert 0.9 < float(x.std()) < 1.1
    assert described.dims == {"x": ("B", "T", None)}
    assert described.lengths == ()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "int64", "bool"])
def test_every_dtype_is_made(dtype: str) -> None:
    (x,) = described_inputs([f"x:{dtype}:B,2"]).tensors().values()
    assert x.dtype == getattr(torch, dtype)


@pytest.mark.parametrize(
    ("values", "low", "high"), [("0..9", 0, 9), ("5..5", 5, 5), ("-3..3", -3, 3)], ids=["from-0", "one", "negative"]
)
def test_both_ends_of_an_integers_range_occur_and_nothing_beyond(values: str, low: int, high: int) -> None:
    (tokens,) = described_inputs([f"tokens:int64:B=40,T=40:{values}"]).tensors().values()
    assert set(tokens.flatten().tolist()) == set(range(low, high + 1))


def test_integers_without_a_range_fit_any_embedding() -> None:
    (tokens,) = described_inputs(["tokens:int64:B,T"]).tensors().values()
    assert set(tokens.flatten().tolist()) == {0, 1}


def test_floats_keep_to_their_range() -> None:
    (x,) = described_inputs(["x:float32:B=40,T=40:-0.5..2"]).tensors().values()
    assert -0.5 <= float(x.min()) < -0.4
    assert 1.9 < float(x.max()) <= 2


def test_booleans_are_true() -> None:
    (mask,) = described_inputs(["mask:bool:B,T"]).tensors().values()
    assert mask.all()


@pytest.mark.parametrize("text", ["lengths:int64:B", "lens:int32:B", "n:int64:B:1..T"])
def test_lengths_fall_from_the_longest_and_are_never_zero(text: str) -> None:
    described = described_inputs(["x:float32:B=5,T=3,2", text])
    lengths = list(described.tensors().values())[1].tolist()
    assert lengths[0] == 3
    assert lengths == sorted(lengths, reverse=True)
    assert min(lengths) >= 1
    assert described.lengths == (text.partition(":")[0],)


@pytest.mark.parametrize("text", ["lengths:int64:B:0..5", "length_ids:int64:B,T", "lengths:float32:B"])
def test_what_only_has_the_name_of_lengths_is_none(text: str) -> None:
    assert described_inputs(["x:float32:B,T,2", text]).lengths == ()


def test_equal_symbols_have_equal_sizes_and_others_differ_from_every_size() -> None:
    described = described_inputs(["x:float32:B,T,19", "y:float32:B,S,7", "z:float32:T,S,N"])
    assert described.sizes["B"] == 3
    assert len({*described.sizes.values(), 19, 7}) == 6
    x, y, z = described.tensors().values()
    assert (x.shape[1], y.shape[1]) == z.shape[:2]


def test_a_size_can_be_set() -> None:
    described = described_inputs(["x:float32:B=2,T=50,4", "y:int64:B,T"])
    assert [tuple(tensor.shape) for tensor in described.tensors().values()] == [(2, 50, 4), (2, 50)]
    assert described.dims == {"x": ("B", "T", None), "y": ("B", "T")}


def test_values_are_the_same_each_time() -> None:
    texts = ["x:float32:B,T,4", "y:int64:B,T:0..99"]
    first, second = described_inputs(texts).tensors(), described_inputs(texts).tensors()
    assert all(first[name].equal(second[name]) for name in first)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["tokens"], "got this, expected NAME:DTYPE:DIMS or NAME:DTYPE:DIMS:LOW..HIGH"),
        (["tokens:int64"], "got this, expected NAME:DTYPE:DIMS"),
        (["a-b:int64:B"], "got this, expected NAME:DTYPE:DIMS"),
        (["t:int64:B:0..1:2"], "got this, expected NAME:DTYPE:DIMS"),
        (["t:int8:B"], "got dtype 'int8', expected float16, bfloat16, float32"),
        (["t:int64:"], "got dims '', expected symbols and sizes from 1"),
        (["t:int64:B,,T"], "got dims 'B,,T', expected symbols and sizes"),
        (["t:int64:B,0"], "got dims 'B,0', expected symbols and sizes from 1"),
        (["t:int64:B,-1"], "got dims 'B,-1', expected symbols and sizes from 1"),
        (["t:int64:B=0"], "got dims 'B=0', expected symbols and sizes from 1"),
        (["t:int64:B:9..0"], "got values '9..0', expected LOW not above HIGH; such as 0..9"),
        (["t:int64:B:0.5..1"], "got values '0.5..1', expected LOW..HIGH"),
        (["t:int64:B:5"], "got values '5', expected LOW..HIGH"),
        (["t:bool:B:0..1"], "got values '0..1', expected no values, for all are true"),
        (["x:float32:B:0..T"], "got values '0..T', expected LOW..HIGH"),
        (["t:int64:B:1..T"], "got the end 'T', expected a number or a dim of the inputs"),
        (["t:int64:B", "t:int64:B"], "got the name twice"),
        (["a:int64:B=2", "b:int64:B=3"], "got B = 2 and 3, expected one size for a dim"),
    ],
)
def test_a_wrong_description_is_refused_by_its_text(texts: list[str], message: str) -> None:
    with pytest.raises(OptionError, match="inputs ") as caught:
        described_inputs(texts)
    assert message in str(caught.value)


def with_attribute(name: str, value: Any) -> nn.Module:
    module = nn.GRU(2, 2)
    setattr(module, name, value)
    return module


@pytest.mark.parametrize("name", ["example_inputs", "example_input_array"])
@pytest.mark.parametrize("kind", ["tensor", "tuple", "dict"])
def test_a_module_brings_its_example(name: str, kind: str) -> None:
    x = torch.zeros(1)
    value = {"tensor": x, "tuple": (x, x), "dict": {"input": x}}[kind]
    expected = (x,) if kind == "tensor" else value
    assert own_example_inputs(with_attribute(name, value)) == expected


@pytest.mark.parametrize("value", [None, "text", print], ids=["none", "text", "function"])
def test_an_attribute_of_another_kind_is_no_example(value: Any) -> None:
    assert own_example_inputs(with_attribute("example_inputs", value)) is None


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        pytest.param(
            ["x:float32:B,T=99999999999,3"], "a size of 99999999999, expected at most 2147483647", id="a symbol's size"
        ),
        pytest.param(
            ["x:float32:99999999999999999999,3"],
            "a size of 99999999999999999999, expected at most 2147483647",
            id="a size",
        ),
        pytest.param(["x:float32:" + "9" * 6000], r"a size of 9+… \(6,000 characters\)", id="a size of 6,000 digits"),
        pytest.param(["x:float32:" + ",".join("1" * 9)], "9 dims, expected at most 8", id="axes"),
        pytest.param(["x:float32:B=2147483647,T=2147483647"], "expected at most 268,435,456 in all inputs", id="bytes"),
        pytest.param(["x:float32:B=40000000", "y:float32:B"], "got 320,000,000 bytes", id="bytes of all"),
        pytest.param(
            ["x:int64:B:0..99999999999999999999999"], "values of int64, from -9223372036854775808", id="int64 above"
        ),
        pytest.param(
            ["x:int64:B:-99999999999999999999999..0"], "values of int64, from -9223372036854775808", id="int64 below"
        ),
        pytest.param(["x:int64:B:0..9223372036854775807"], "to 9223372036854775806", id="int64's last"),
        pytest.param(["x:int32:B:0..5000000000"], "values of int32, from -2147483648 to 2147483647", id="int32"),
        pytest.param(["x:int64:B:0.." + "9" * 6000], "values of int64", id="a value of 6,000 digits"),
        pytest.param(["x:float16:B:0..99999"], "values of float16, from -65504.0 to 65504.0", id="float16"),
        pytest.param(["x:float32:B:0.." + "9" * 400], "values of float32", id="float32"),
        pytest.param(
            ["n:int64:B:-5..T", "x:float32:B,T"], "values -5..T, expected LOW from 0 to T = 19", id="lengths below zero"
        ),
        pytest.param(
            ["n:int64:B:99..T", "x:float32:B,T"], "values 99..T, expected LOW from 0 to T = 19", id="lengths above all"
        ),
    ],
)
def test_what_no_example_can_hold_is_refused_before_it_is_made(texts: list[str], said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        described_inputs(texts)
    assert len(str(caught.value)) < 1_000
