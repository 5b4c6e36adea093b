from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from tests.rnnx.diagnosis.conftest import Array, Compute, FakeBackend, Model, model, row_of

from rnnx.diagnosis.arithmetic import Arithmetic
from rnnx.diagnosis.diagnosis import Diagnosis, Location
from rnnx.diagnosis.differential import diagnose
from rnnx.diagnosis.rounding import Rounding
from rnnx.diagnosis.simulation import Fault
from rnnx.parity.parity import ParityRow
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.errors import BackendError

RESET = Arithmetic(reset_before=True)


def _diagnosed(
    made: Model,
    compute: Compute,
    *,
    weights: bool = True,
    outputs: tuple[str, ...] = ("output", "hn", "cn"),
    most_rows: int | None = None,
) -> Diagnosis:
    backend, truth = FakeBackend(compute, most_rows=most_rows), made.truth()
    specs = [spec for spec in made.contract.outputs if spec.name in outputs]
    row = row_of(made, backend, truth, specs)
    assert row.status == "fail"
    own = made.weights if weights else None
    return diagnose(backend, row, truth, made.contract, own, outputs=specs)


def test_a_known_fault_is_named_with_its_place_and_remedy() -> None:
    made = model("gru", 2, 2, lengths=True)
    found = _diagnosed(made, made.compute(Fault(arithmetic={(1, 1): RESET})))
    assert found.backend == "ort-cpu"
    assert found.cause == "reset-gate-before"
    assert found.location == Location(output="hn", case="T1 B1", layer=1, direction="backward", gate="n", time_step=0)
    assert "linear_before_reset=1" in found.remedy
    assert "one step alone is wrong in layer 1 backward of 4 cells" in found.evidence


def test_a_backward_fault_that_needs_two_steps_begins_one_before_the_last() -> None:
    made = model("gru", 1, 2)
    compute = made.compute(Fault(arithmetic={(0, 1): RESET}))

    def right_at_one_step(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return made.compute()(feeds) if len(feeds["x"]) == 1 else compute(feeds)

    found = _diagnosed(made, right_at_one_step)
    assert found.location is not None
    assert (found.location.case, found.location.direction, found.location.time_step) == ("T2 B2", "backward", 0)


def test_a_fault_from_the_third_step_on_is_placed_there() -> None:
    made = model("lstm")

    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        late = {**feeds, "x": np.concatenate([feeds["x"][:2], feeds["x"][2:] + 1])}
        return made.compute()(late)

    found = _diagnosed(made, compute)
    assert found.cause is None
    assert found.location is not None
    assert (found.location.case, found.location.time_step) == ("T5 B3", 2)


def test_without_weights_it_is_located_and_the_checkpoint_asked_for() -> None:
    made = model("gru", 2)
    found = _diagnosed(made, made.compute(Fault(arithmetic={(1, 0): RESET})), weights=False)
    assert found.cause is None
    assert found.location == Location(output="hn", case="T1 B1", layer=1, time_step=0)
    assert "give the checkpoint" in found.remedy


def test_without_weights_rows_of_the_truth_are_still_recognised() -> None:
    made = model("lstm", 2)
    compute = made.compute()

    def exchanged(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        values = compute(feeds)
        return {**values, "hn": values["hn"][::-1]}

    assert _diagnosed(made, exchanged, weights=False).cause == "layer-states-mixed"


@pytest.mark.parametrize("outputs", [("output",), ("hn",), ("output", "hn")], ids=" ".join)
def test_fewer_outputs_are_enough_for_a_known_fault(outputs: tuple[str, ...]) -> None:
    made = model("lstm", 1, 2)
    compute = made.compute(Fault(arithmetic=dict.fromkeys(made.stack, Arithmetic(gate="hard sigmoid (slope 1/5)"))))

    def fewer(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: value for name, value in compute(feeds).items() if name in outputs}

    assert _diagnosed(made, fewer, outputs=outputs).cause == "wrong-activation"


def test_a_backend_of_small_batches_is_probed_in_parts() -> None:
    made = model("gru", 2)
    found = _diagnosed(made, made.compute(Fault(arithmetic={(0, 0): RESET})), most_rows=3)
    assert found.cause == "reset-gate-before"


def test_a_backend_that_takes_no_single_step_is_judged_by_its_cases() -> None:
    made = model("gru", 2)
    compute = made.compute(Fault(arithmetic=dict.fromkeys(made.stack, RESET)))
    truth = [entry for entry in made.truth() if len(entry.case.feeds["x"]) > 1]

    def longer(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        if len(feeds["x"]) < 2:
            raise BackendError("engine", got="T=1", expected="T from 2 to 64", remedy="a wider profile")
        return compute(feeds)

    backend = FakeBackend(longer)
    row = row_of(made, backend, truth)
    found = diagnose(backend, row, truth, made.contract, made.weights, outputs=made.contract.outputs)
    assert found.cause == "reset-gate-before"


def _every_weight_a_little_off(made: Model) -> Fault:
    own = made.stack[0, 0]
    return Fault(
        stack={(0, 0): replace(own, w_ih=own.w_ih + 0.05 * np.sin(np.arange(own.w_ih.size)).reshape(own.w_ih.shape))}
    )


def test_what_no_cause_explains_is_not_named() -> None:
    made = model("lstm")
    found = _diagnosed(made, made.compute(_every_weight_a_little_off(made)))
    assert found.cause is None
    assert found.location == Location(output="hn", case="T1 B1", layer=0, time_step=0)
    assert found.summary.endswith("no known cause explains it")


def test_a_backend_that_refuses_everything_is_told_so() -> None:
    made = model("lstm")

    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        raise BackendError("engine", got="nothing", expected="a result", remedy="see the log")

    found = _diagnosed(made, compute)
    assert found.cause is None
    assert "refuses the case: engine: got nothing, expected a result; see the log" in found.summary


def test_failures_that_do_not_come_back_are_told_so() -> None:
    made = model("lstm")
    truth = made.truth()
    row = row_of(made, FakeBackend(made.compute(Fault(arithmetic={(0, 0): Arithmetic(clip=0.1)}))), truth)
    sound = FakeBackend(made.compute())
    found = diagnose(sound, row, truth, made.contract, made.weights, outputs=made.contract.outputs)
    assert (found.cause, found.location) == (None, None)
    assert "did not come back" in found.summary


def test_values_that_are_no_numbers_without_float16_are_located() -> None:
    made = model("lstm", 2)
    compute = made.compute()

    def lost(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        values = {name: value.copy() for name, value in compute(feeds).items()}
        values["cn"][1, 0, 2] = np.nan
        return values

    found = _diagnosed(made, lost)
    assert found.cause is None
    assert found.location is not None
    assert (found.location.output, found.location.layer) == ("cn", 1)


def test_a_time_length_is_found_beyond_the_cases() -> None:
    made = model("lstm")

    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        if len(feeds["x"]) != 9:
            raise BackendError(
                "ONNX Runtime run",
                got="Non-zero status code returned while running Reshape node. Name:'/lstm/Reshape_3' Status: x",
                expected="a result",
                remedy="export it again",
            )
        return made.compute()(feeds)

    found = _diagnosed(made, compute)
    assert found.cause == "baked-time"
    assert "T=9 only" in found.summary
    assert found.node == "Reshape '/lstm/Reshape_3'"


def test_a_batch_that_is_fixed_is_no_time() -> None:
    made = model("gru", form="step")

    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        if len(feeds["x"]) != 2:
            raise BackendError("run", got="a wrong size", expected="2", remedy="export it again")
        return made.compute()(feeds)

    found = _diagnosed(made, compute)
    assert found.cause == "baked-batch"
    assert "B=2 only" in found.summary


def test_float32_where_float64_is_declared_is_named() -> None:
    made = model("lstm", form="step")
    specs = [replace(spec, dtype="float64") for spec in made.contract.outputs]
    backend, truth = FakeBackend(made.compute()), made.truth()
    row = row_of(made, backend, truth, specs)
    found = diagnose(backend, row, truth, made.contract, made.weights, outputs=specs)
    assert found.cause == "float64-as-float32"


@pytest.mark.parametrize(
    ("rounding", "cause"),
    [
        (Rounding(format="tf32", operands=frozenset(["weights", "inputs", "states"])), "tf32"),
        (Rounding(format="tf32-truncated", operands=frozenset(["weights", "inputs", "states"])), "tf32"),
        (
            Rounding(format="float16", operands=frozenset(["weights", "inputs", "states", "gates", "cell", "carried"])),
            "float16-precision",
        ),
        (Rounding(format="bfloat16", operands=frozenset(["weights", "inputs", "states"])), "bfloat16-precision"),
        (Rounding(format="int8", operands=frozenset(["weights", "inputs", "states"])), "int8-precision"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.format,
)
def test_a_format_is_known_by_its_errors(rounding: Rounding, cause: str) -> None:
    from rnnx.diagnosis.precisions import rounding_fault

    made = model("lstm", 2, seed=4)
    found = _diagnosed(made, made.compute(rounding_fault(made.stack, rounding)))
    assert found.cause == cause


def test_sums_that_saturate_are_known_by_their_errors() -> None:
    """Two products of large weights and inputs of one sign, added in 16 bits as x86 without VNNI adds them."""
    from rnnx.diagnosis.precisions import rounding_fault

    made = model("lstm", seed=5)
    rounding = Rounding(format="int8", operands=frozenset(["weights", "inputs", "states"]), pairs_saturate=True)
    found = _diagnosed(made, made.compute(rounding_fault(made.stack, rounding)))
    assert found.cause == "int8-saturation"
    assert "16 bits" in found.summary


def test_errors_of_chance_are_no_format() -> None:
    made = model("gru", 2)
    chance, compute = np.random.default_rng(0), made.compute()

    def noisy(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: value + 1e-3 * chance.standard_normal(value.shape) for name, value in compute(feeds).items()}

    assert _diagnosed(made, noisy).cause is None


def test_a_row_of_no_failure_has_nothing_to_name() -> None:
    made = model("lstm")
    truth: list[CaseTruth] = made.truth()
    specs: tuple[TensorSpec, ...] = made.contract.outputs
    row = ParityRow(backend="ort-cpu", status="fail", precision="float32")
    found = diagnose(FakeBackend(made.compute()), row, truth, made.contract, made.weights, outputs=specs)
    assert found.cause is None


RNN, RELU = model("rnn", 2), model("rnn", 2, nonlinearity="relu")
PROJECTED = model("lstm", 2, 2, lengths=True, projection=4)


@pytest.mark.parametrize(
    ("made", "candidate", "says"),
    [
        pytest.param(RNN, "relu", "relu in place of tanh", id="tanh"),
        pytest.param(RELU, "tanh", "tanh in place of relu", id="relu"),
    ],
)
def test_a_plain_rnns_nonlinearity_is_named(made: Model, candidate: str, says: str) -> None:
    found = _diagnosed(made, made.compute(Fault(arithmetic=dict.fromkeys(made.stack, Arithmetic(candidate=candidate)))))
    assert found.cause == "wrong-activation"
    assert says in found.summary


def test_a_projection_of_another_order_is_named() -> None:
    own = PROJECTED.stack[1, 0]
    assert own.w_hr is not None
    wrong = replace(own, w_hr=own.w_hr[:, ::-1])
    found = _diagnosed(PROJECTED, PROJECTED.compute(Fault(stack={(1, 0): wrong})))
    assert found.cause == "weight-fault"
    assert "weight_hr: rows in reverse order" in found.summary
    assert found.location is not None
    assert (found.location.layer, found.location.direction) == (1, "forward")


@pytest.mark.parametrize(
    ("made", "cause"),
    [
        pytest.param(PROJECTED, "gate-order", id="projected-gates"),
        pytest.param(PROJECTED, "bias-dropped", id="projected-bias"),
        pytest.param(RNN, "bias-dropped", id="rnn-bias"),
    ],
)
def test_a_fault_of_every_kinds_weights_is_named(made: Model, cause: str) -> None:
    own = made.stack[0, 0]
    order = [0, 2, 1, 3]
    wrong = (
        replace(own, w_ih=own.w_ih[order], w_hh=own.w_hh[order], b_ih=own.b_ih[order], b_hh=own.b_hh[order])
        if cause == "gate-order"
        else replace(own, b_ih=0 * own.b_ih)
    )
    assert _diagnosed(made, made.compute(Fault(stack={(0, 0): wrong}))).cause == cause


@pytest.mark.parametrize("made", [RNN, RELU, PROJECTED, model("lstm", projection=4, state_inputs=False)])
def test_what_no_cause_explains_is_located_in_every_kind(made: Model) -> None:
    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: value + np.cos(7 * value) / 9 for name, value in made.compute()(feeds).items()}

    found = _diagnosed(made, compute)
    assert found.cause is None
    assert found.location is not None
