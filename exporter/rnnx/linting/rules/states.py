"""`states-unreachable` and `final-states-unused`: what a service that streams cannot do with a model."""

from collections.abc import Iterator

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.state_paths import gives_states, takes_states


def find(model: ExaminedModel) -> Iterator[Finding]:
    """The recurrent nodes of the main graph whose states cannot be carried from call to call."""
    for layer in (own for own in model.main.layers if not takes_states(own)):
        yield Finding(
            rule="states-unreachable",
            severity="info",
            node=layer.shown,
            message="the initial state is absent or constant: every call starts from it, so a sequence cannot be "
            "streamed in chunks",
            fix="to stream, make initial_h and initial_c inputs of the graph (rnnx export does, a whole model with "
            "--stateful)",
        )
    for layer in (own for own in model.main.layers if not gives_states(own)):
        yield Finding(
            rule="final-states-unused",
            severity="info",
            node=layer.shown,
            message="hn or cn is no output of the graph: a call cannot hand its state to the next, and only output can "
            "be verified",
            fix="to stream, add Y_h and Y_c to the graph's outputs (rnnx export does, a whole model with --stateful)",
        )
