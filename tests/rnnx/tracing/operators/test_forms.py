from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnx.tracing.operators import complex_forms
from rnnx.tracing.operators import forms as operator_forms
from rnnx.tracing.operators.forms import FORMS

ATEN = torch.ops.aten
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def values(*shape: int) -> Tensor:
    return torch.tanh(torch.randn(shape, generator=torch.Generator().manual_seed(20515)))


def ties(*shape: int) -> Tensor:
    return (values(*shape) * 2).round()


def spectrum(*, center: bool, normalized: bool = False) -> Tensor:
    options: dict[str, Any] = {"return_complex": True, "center": center, "normalized": normalized}
    found: Tensor = torch.stft(values(2, 40), 8, 2, window=torch.hann_window(8) + 0.1, **options)
    return found


def complexes(*shape: int) -> Tensor:
    return torch.view_as_complex(values(*shape, 2))


def distances(p: float) -> Arguments:
    return (values(2, 3, 4), values(2, 5, 4) + 1, p), {}


CASES: dict[str, tuple[Any, Callable[[], Arguments]]] = {
    "attention": (ATEN.scaled_dot_product_attention.default, lambda: ((values(2, 3, 4),) * 3, {})),
    "attention-mask": (
        ATEN.scaled_dot_product_attention.default,
        lambda: ((*(values(2, 3, 4),) * 3, values(2, 3, 3)), {}),
    ),
    "attention-causal": (
        ATEN.scaled_dot_product_attention.default,
        lambda: ((*(values(2, 3, 4),) * 3, None, 0.0, True), {"scale": 0.3}),
    ),
    "pad-complex": (ATEN.pad.default, lambda: ((complexes(2, 3, 4), [1, 0, 2, 1]), {})),
    "pad-complex-reflected": (ATEN.pad.default, lambda: ((complexes(2, 3, 4), [1, 2], "reflect"), {})),
    "windows-complex": (ATEN.unfold.default, lambda: ((complexes(2, 7, 4), -2, 3, 2), {})),
    "products-complex": (
        ATEN.einsum.default,
        lambda: (("btfn,bntf->btf", [complexes(2, 3, 4, 5), complexes(2, 5, 3, 4)]), {}),
    ),
    "amax": (ATEN.amax.default, lambda: ((values(2, 3),), {})),
    "amin-keepdim": (ATEN.amin.default, lambda: ((values(2, 3), [], True), {})),
    "rrelu": (ATEN.rrelu.default, lambda: ((values(2, 3), 0.1, 0.3), {})),
    "pooled-height": (ATEN.adaptive_avg_pool2d.default, lambda: ((values(2, 3, 4, 5), [4, 1]), {})),
    "pooled-time": (ATEN.adaptive_avg_pool1d.default, lambda: ((values(2, 3, 4), [1]), {})),
    "sort": (ATEN.sort.stable, lambda: ((ties(3, 9),), {"stable": True, "dim": 1})),
    "sort-descending": (ATEN.sort.stable, lambda: ((values(3, 9),), {"stable": True, "dim": 0, "descending": True})),
    "argsort": (ATEN.argsort.stable, lambda: ((values(3, 9),), {"stable": True, "dim": 1})),
    "cumprod": (ATEN.cumprod.default, lambda: ((values(2, 5, 3), 1), {})),
    "cummax": (ATEN.cummax.default, lambda: ((ties(2, 9, 3), 1), {})),
    "cummin": (ATEN.cummin.default, lambda: ((ties(2, 9), -1), {})),
    "median": (ATEN.median.default, lambda: ((values(3, 4),), {})),
    "median-even": (ATEN.median.dim, lambda: ((values(3, 4), 1), {})),
    "median-odd": (ATEN.median.dim, lambda: ((values(3, 5), -1, True), {})),
    "kthvalue": (ATEN.kthvalue.default, lambda: ((values(3, 5), 2, 0), {})),
    "hypot": (ATEN.hypot.default, lambda: ((values(3), values(3) + 1), {})),
    "copysign": (ATEN.copysign.Tensor, lambda: ((values(4), torch.tensor([0.0, -0.0, 2.0, -2.0])), {})),
    "fmax": (ATEN.fmax.default, lambda: ((torch.tensor([1.0, torch.nan, 2.0]), torch.tensor([torch.nan, 3, 1])), {})),
    "fmin": (ATEN.fmin.default, lambda: ((torch.tensor([1.0, torch.nan, 2.0]), torch.tensor([torch.nan, 3, 1])), {})),
    "cdist": (ATEN.cdist.default, lambda: distances(2.0)),
    "cdist-0": (ATEN.cdist.default, lambda: distances(0.0)),
    "cdist-1": (ATEN.cdist.default, lambda: distances(1.0)),
    "cdist-3": (ATEN.cdist.default, lambda: distances(3.0)),
    "cdist-inf": (ATEN.cdist.default, lambda: distances(torch.inf)),
    "searchsorted": (ATEN.searchsorted.Tensor, lambda: ((ties(9).sort()[0], ties(2, 3)), {})),
    "searchsorted-right": (
        ATEN.searchsorted.Tensor,
        lambda: ((ties(2, 9).sort()[0], ties(2, 3)), {"right": True, "out_int32": True}),
    ),
    "isin": (ATEN.isin.Tensor_Tensor, lambda: ((ties(3, 4), torch.tensor([[1.0], [-1.0]])), {"invert": True})),
    "shift-right": (ATEN.__rshift__.Scalar, lambda: ((torch.arange(-5, 6), 1), {})),
    "shift-left": (ATEN.__lshift__.Scalar, lambda: ((torch.arange(-5, 6), 2), {})),
    "hamming": (ATEN.hamming_window.default, lambda: ((8,), {})),
    "hamming-symmetric": (ATEN.hamming_window.periodic, lambda: ((8, False), {})),
    "istft": (ATEN.istft.default, lambda: ((spectrum(center=True), 8, 2, 8, torch.hann_window(8) + 0.1), {})),
    "istft-length": (
        ATEN.istft.default,
        lambda: (
            (spectrum(center=True, normalized=True), 8, 2, 8, torch.hann_window(8) + 0.1, True, True, None, 37),
            {},
        ),
    ),
    "istft-uncentred": (
        ATEN.istft.default,
        lambda: ((spectrum(center=False)[0], 8, 2, 8, torch.hann_window(8) + 0.1, False), {}),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_form_gives_what_the_operator_gives(case: str) -> None:
    operator, arguments = CASES[case]
    args, kwargs = arguments()
    form, is_needed = FORMS[operator]
    assert is_needed(*args, **kwargs)
    found, expected = form(*args, **kwargs), operator(*args, **kwargs)
    pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
    for own, theirs in pairs:
        assert own.dtype == theirs.dtype
        torch.testing.assert_close(own, theirs, equal_nan=True)


def test_what_torch_onnx_writes_itself_is_left_as_it_is() -> None:
    heads = (values(2, 1, 3, 4),) * 3
    assert not FORMS[ATEN.scaled_dot_product_attention.default][1](*heads)
    assert not FORMS[ATEN.adaptive_avg_pool2d.default][1](values(2, 3, 4, 5), [2, 1])
    assert not FORMS[ATEN.amax.default][1](values(2, 3), [1])
    assert not FORMS[ATEN.rrelu.default][1](values(2), 0.1, 0.3, True)


OF_FREE_SIZES = {"chunk", "repeat_interleave"}
"""Forms of sizes that no tensor here has: tests of `operator_rewriting` export them."""


def test_every_form_has_a_case() -> None:
    tried = {FORMS[operator][0] for operator, _ in CASES.values()}
    assert {form.__name__ for form, _ in FORMS.values()} == {form.__name__ for form in tried} | OF_FREE_SIZES
    assert all(any(hasattr(own, form.__name__) for own in (operator_forms, complex_forms)) for form in tried)
