from dataclasses import replace

import pytest
from tests.contracts import changed, contract_of

from rnnx.engines.profiles import (
    check_profiles,
    default_profile,
    profiles_from_texts,
    shapes_from_profile,
    symbolic_dims,
    text_from_profile,
)
from rnnx.errors import OptionError
from rnnx_runtime import Contract
from rnnx_runtime.contract import SizeRange, Source
from rnnx_runtime.files.sidecar import Range

ENCODER = contract_of(
    form="encoder",
    cell="lstm",
    input_size=10,
    hidden_size=20,
    projection_size=20,
    layers=1,
    directions=1,
    steps=None,
    batch_first=False,
    state_inputs=True,
    lengths=True,
    precision="float32",
    formulation="fused",
    source=Source(file="LSTM", module="", weights_sha256="ab" * 32),
)
STEP = changed(ENCODER, form="step", lengths=False)

B, T = Range(min=1, opt=8, max=64), Range(min=1, opt=50, max=500)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param([], (), id="none"),
        pytest.param(["B=1:8:64,T=1:50:500"], ({"B": B, "T": T},), id="joined"),
        pytest.param(["B=1:8:64", "T=1:50:500"], ({"B": B, "T": T},), id="apart"),
        pytest.param([" B = 1 : 8:64 , T=1:50:500 "], ({"B": B, "T": T},), id="spaces"),
        pytest.param(["B=1:8:64,T=1:50:500", "B=1:8:64"], ({"B": B, "T": T}, {"B": B}), id="second-begins"),
        pytest.param(["B=1:8:64", "T=1:50:500"] * 2, ({"B": B, "T": T},) * 2, id="two-apart"),
    ],
)
def test_options_become_profiles(texts: list[str], expected: object) -> None:
    assert profiles_from_texts(texts) == expected


@pytest.mark.parametrize(
    "text", ["", "B", "B=4", "B=1:2", "B=1:2:3:4", "B=a:b:c", "B=-1:2:3", "B=1.5:2:3", "=1:2:3", "B=1:2:3,", "B=1:2:٣"]
)
def test_malformed_text_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(OptionError, match="expected NAME=MIN:OPT:MAX") as caught:
        profiles_from_texts([text])
    assert caught.value.got == repr(text)


def test_a_dim_twice_in_one_option_is_refused() -> None:
    with pytest.raises(OptionError, match=r"got B twice in 'B=1:1:1,B=2:2:2', expected each dim once"):
        profiles_from_texts(["B=1:1:1,B=2:2:2"])


def test_text_from_profile_is_what_the_option_takes() -> None:
    profile = {"B": B, "T": T}
    assert profiles_from_texts([text_from_profile(profile)]) == (profile,)


@pytest.mark.parametrize(
    ("contract", "dims"),
    [
        pytest.param(ENCODER, ("B", "T"), id="encoder"),
        pytest.param(changed(ENCODER, batch_first=True), ("B", "T"), id="batch-first"),
        pytest.param(STEP, ("B",), id="step"),
        pytest.param(changed(STEP, form="unrolled", steps=4), ("B",), id="unrolled"),
    ],
)
def test_every_free_dim_has_a_default(contract: Contract, dims: tuple[str, ...]) -> None:
    assert symbolic_dims(contract) == dims
    profile = default_profile(contract)
    assert tuple(profile) == dims
    check_profiles([profile], contract)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("B=1:8:64", r"profile 1: got no range for T, .* add T=MIN:OPT:MAX", id="missing-dim"),
        pytest.param(
            "B=1:8:64,T=1:2:3,H=1:2:3", r"profile 1: got an unknown dim 'H', .* each of B, T", id="unknown-dim"
        ),
        pytest.param(
            "B=1:8:64,T=5:2:9", r"dim T: got 5:2:9, expected min ≤ opt ≤ max; write 2:5:9", id="min-above-opt"
        ),
        pytest.param("B=1:8:4,T=1:2:3", r"dim B: got 1:8:4, expected min ≤ opt ≤ max", id="opt-above-max"),
        pytest.param("B=0:8:64,T=1:2:3", r"dim B: got 0:8:64, expected sizes from 1", id="zero"),
        pytest.param("B=1:8:2147483648,T=1:2:3", "expected sizes from 1 to 2147483647", id="too-large"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        check_profiles(profiles_from_texts([text]), ENCODER)


def test_a_later_profile_is_named_by_its_number() -> None:
    with pytest.raises(OptionError, match="profile 2: got no range for T"):
        check_profiles(profiles_from_texts(["B=1:1:1,T=1:2:3", "B=8:8:8"]), ENCODER)


def test_a_step_has_no_time() -> None:
    with pytest.raises(OptionError, match="got an unknown dim 'T', expected a range for each of B; leave T out"):
        check_profiles(profiles_from_texts(["B=1:1:1,T=1:2:3"]), STEP)


def test_a_profile_gives_each_input_three_shapes() -> None:
    x, h0, _, lengths = ENCODER.inputs
    profile = {"B": B, "T": T}
    assert shapes_from_profile(profile, x) == ((1, 1, 10), (50, 8, 10), (500, 64, 10))
    assert shapes_from_profile(profile, h0) == ((1, 1, 20), (1, 8, 20), (1, 64, 20))
    assert shapes_from_profile(profile, lengths) == ((1,), (8,), (64,))


def test_a_profile_stays_inside_of_the_contracts_ranges() -> None:
    contract = replace(ENCODER, ranges={"T": SizeRange(min=5, max=20)})
    assert default_profile(contract)["T"] == Range(min=5, opt=20, max=20)
