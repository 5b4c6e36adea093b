import dataclasses

from tests.rnnx.reports.made_reports import failing_report

from rnnx.reports.diagnosis_groups import by_cause


def test_the_same_diagnosis_of_several_backends_is_told_once() -> None:
    (one,) = failing_report().diagnoses
    same = dataclasses.replace(one, backend="tensorrt-network")
    other = dataclasses.replace(one, backend="ort-cuda", cause=None)
    assert by_cause((one, other, same)) == ((("ort-cpu", "tensorrt-network"), one), (("ort-cuda",), other))
    assert by_cause(()) == ()
