"""The states that a caller names, held to the inputs and outputs that the model has."""

from collections.abc import Mapping, Sequence

from rnnx.errors import OptionError
from rnnx_runtime.contract import StatePair, TensorSpec


def named_states(
    named: Mapping[str, str], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[StatePair, ...]:
    """The pairs that `named` gives, input to output.

    Raises:
        OptionError: a name that is none of the model's, two inputs of one output, or an input unlike its output.
    """
    given, results = {spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs}
    for name, output in named.items():
        if name not in given:
            raise _unfit(f"input {name!r}", f"one of the inputs {', '.join(given)}", "name an input")
        if output not in results:
            raise _unfit(f"output {output!r}", f"one of the outputs {', '.join(results)}", "name an output")
        own, other = given[name], results[output]
        if (own.dtype, own.dims) != (other.dtype, other.dims):
            raise _unfit(
                f"{name} {own.dtype} {own.shape} with {output} {other.dtype} {other.shape}",
                "one dtype and one shape, since the next call takes what this one gives",
                "name the output that follows the input",
            )
        if list(named.values()).count(output) > 1:
            raise _unfit(f"output {output!r} for two inputs", "an output for each", "name each output once")
    return tuple(StatePair(input=name, output=output) for name, output in named.items())


def joined_states(*sources: Sequence[StatePair]) -> tuple[StatePair, ...]:
    """All pairs, the first of each input and of each output."""
    found = list[StatePair]()
    for pair in (own for source in sources for own in source):
        if not any(pair.input == own.input or pair.output == own.output for own in found):
            found.append(pair)
    return tuple(found)


def _unfit(got: str, expected: str, remedy: str) -> OptionError:
    return OptionError("states", got=got, expected=expected, remedy=remedy)
