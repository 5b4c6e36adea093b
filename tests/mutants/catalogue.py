"""All mutants."""

from tests.mutants import gate_mutants, precision_mutants, sequence_mutants, state_mutants, weight_mutants

MUTANTS = (
    *gate_mutants.MUTANTS,
    *state_mutants.MUTANTS,
    *sequence_mutants.MUTANTS,
    *precision_mutants.MUTANTS,
    *weight_mutants.MUTANTS,
)
