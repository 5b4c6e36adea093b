from pathlib import Path

import pytest

from rnnx_runtime import InputError
from service.settings import Settings, settings_from_environment

MODELS = {"RNNX_SERVICE_STREAM_MODEL": "step.onnx", "RNNX_SERVICE_ENCODER_MODEL": "encoder.onnx"}


def test_variables_set_what_they_are_named_for() -> None:
    settings = settings_from_environment(
        MODELS | {"RNNX_SERVICE_PORT": "0", "RNNX_SERVICE_IDLE_S": "1.5", "RNNX_SERVICE_HOST": "::1", "OTHER": "x"}
    )
    assert settings == Settings(
        stream_model=Path("step.onnx"), encoder_model=Path("encoder.onnx"), port=0, idle_s=1.5, host="::1"
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "x", "a whole number"),
        ("PORT", "-1", "a number ≥ 0"),
        ("PORT", "1.5", "a whole number"),
        ("IDLE_S", "nan", "a finite number"),
        ("IDLE_S", "inf", "a finite number"),
        ("MAX_STREAMS", "0", "a number > 0"),
        ("MAX_ANSWER_MIB", "-1", "a number > 0"),
        ("ALLOWED_HOSTS", "a.example, http://b.example", "names by commas"),
        ("ALLOWED_HOSTS", "a*.example", "names by commas"),
        ("ALLOWED_ORIGINS", "app.example.com", "names by commas"),
        ("ALLOWED_ORIGINS", "https://app.example.com/", "names by commas"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str, expected: str) -> None:
    with pytest.raises(InputError, match=rf"^RNNX_SERVICE_{name}: got .*, expected {expected}"):
        settings_from_environment(MODELS | {f"RNNX_SERVICE_{name}": value})


def test_a_variable_that_is_no_setting_is_refused() -> None:
    with pytest.raises(InputError, match="RNNX_SERVICE_PROT: got no setting of that name"):
        settings_from_environment(MODELS | {"RNNX_SERVICE_PROT": "1"})


@pytest.mark.parametrize(
    ("host", "own"),
    [("10.0.0.1", ("10.0.0.1",)), ("0.0.0.0", ()), ("::", ()), ("fe80::1", ("[fe80::1]",))],
    ids=["address", "all", "all-v6", "address-v6"],
)
def test_the_address_it_listens_on_is_a_host_unless_it_is_every_address(host: str, own: tuple[str, ...]) -> None:
    variables = MODELS | {"RNNX_SERVICE_HOST": host, "RNNX_SERVICE_ALLOWED_HOSTS": "a.example, b.example"}
    hosts = settings_from_environment(variables).hosts
    assert hosts == ("localhost", "127.0.0.1", "[::1]", *own, "a.example", "b.example")
