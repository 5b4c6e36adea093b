"""The refusal of a model that carries something from one call to the next in itself, and not as a state."""

from rnnx.errors import ExportError
from rnnx.tracing.example_run import ExampleRun

_AS_ARGUMENT = "take it as an argument of forward and return the new one"


def refuse_kept_states(subject: str, run: ExampleRun, *, stateful: bool) -> None:
    """Refuse what a model keeps: anything without `stateful`, with it what is more than tensors that start from zeros.

    Raises:
        ExportError: names the attribute or buffer.
    """
    name = next((place.holder for place in run.kept), "forward")
    if run.carries:
        raise ExportError(
            f"{subject}.{name}",
            got="state that forward keeps for the next call and that is more than tensors which start from zeros",
            expected="state as a value: tensors of the same shapes after each call, zeros before the first",
            remedy=f"set it to zeros before the export where it is left from an earlier run, or {_AS_ARGUMENT}",
        )
    if (run.kept and not stateful) or not (run.kept or run.repeats):
        raise kept_state(subject, name)


def kept_state(subject: str, name: str) -> ExportError:
    """The refusal of a model that reads what the call before has left."""
    return ExportError(
        f"{subject}.{name}",
        got="a tensor that forward changes and reads in the next call",
        expected="state as a value",
        remedy=f"export it with stateful=True (--stateful), which makes it an input and an output, or {_AS_ARGUMENT}",
    )
