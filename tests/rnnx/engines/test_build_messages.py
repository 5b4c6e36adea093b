from types import SimpleNamespace

import pytest

from rnnx.engines.build_messages import BuildMessages, logger_for

DRIVER = "Error Code 1: Cuda Runtime (cudaError 35: CUDA driver version is insufficient for CUDA runtime version)"


def test_the_first_error_is_the_cause() -> None:
    messages = BuildMessages()
    for text in ("first", "second", "first"):
        messages.add("ERROR", text)
    error = messages.error("building model.onnx", "an engine")
    assert messages.errors == ("first", "second")
    assert (error.subject, error.got, error.expected) == ("building model.onnx", "first", "an engine")


def test_the_missing_driver_is_the_cause_only_when_nothing_else_is() -> None:
    messages = BuildMessages()
    messages.add("ERROR", DRIVER)
    assert messages.errors == (DRIVER,)
    assert "install an NVIDIA driver" in messages.error("s", "e").remedy
    messages.add("INTERNAL_ERROR", "the cause")
    assert messages.errors == ("the cause",)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("no tactics to implement the operation within workspace limit", "raise workspace_mib"),
        ("Out of memory: allocating 12 bytes", "free GPU memory"),
        ("no optimization profile has been defined", "give each dim a range in the profiles"),
        ("something new", "try another form"),
    ],
    ids=["workspace", "memory", "profile", "other"],
)
def test_known_errors_have_their_own_remedy(text: str, remedy: str) -> None:
    messages = BuildMessages()
    messages.add("ERROR", text)
    assert remedy in messages.error("s", "e").remedy


def test_silence_is_said() -> None:
    assert BuildMessages().error("s", "e").got == "nothing, and no message"


def test_places_in_tensorrts_sources_and_line_breaks_are_dropped() -> None:
    messages = BuildMessages()
    messages.add("ERROR", "Myelin (FP32 GEMM\nis not supported. In compileGraph at /_src/optimizer/a.cpp:2012)")
    assert messages.errors == ("Myelin (FP32 GEMM is not supported.)",)


def test_the_logger_sorts_by_severity() -> None:
    messages = BuildMessages()
    trt = SimpleNamespace(ILogger=type("ILogger", (), {}))
    logger = logger_for(trt, messages)
    for severity in ("VERBOSE", "INFO", "WARNING", "ERROR", "INTERNAL_ERROR"):
        logger.log(SimpleNamespace(name=severity), severity.lower())
    assert messages.warnings == ("warning",)
    assert messages.errors == ("error", "internal_error")
