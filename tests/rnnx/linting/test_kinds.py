from rnnx.linting.findings import Finding
from rnnx.linting.kinds import by_kind


def finding(node: str, rule: str = "r", message: str = "m", backends: tuple[str, ...] = ()) -> Finding:
    return Finding(rule=rule, severity="error", node=node, message=message, fix="f", backends=backends)


def test_findings_of_one_kind_are_one_with_the_others_listed() -> None:
    (found,) = by_kind([finding("a"), finding("b"), finding("b"), finding("c", message="n")])
    assert (found.node, found.message, found.others) == ("a (and 2 more)", "m", ("b", "c: n"))


def test_another_rule_or_backend_is_another_kind() -> None:
    findings = [finding("a"), finding("b", rule="s"), finding("c", backends=("ort-cpu",))]
    assert by_kind(findings) == tuple(findings)
