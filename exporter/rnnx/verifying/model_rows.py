"""The rows of a whole model's report, and how each is opened."""

import functools
from dataclasses import dataclass

from rnnx.runners.candidates import PYTORCH_ROWS, ROW_NAMES, Candidate
from rnnx.runners.isolated_candidate import IsolatedCandidate
from rnnx.runners.model_subject import ModelSubject
from rnnx.runners.verify_options import VerifyOptions
from rnnx.verifying.model_reference import ModelReference


@dataclass(frozen=True, kw_only=True)
class ModelRows:
    """A model, its module where that is given, and what was asked for."""

    subject: ModelSubject
    reference: ModelReference | None
    options: VerifyOptions

    @property
    def names(self) -> tuple[str, ...]:
        """The rows to run, in a report's order; PyTorch's apply where there is a module."""
        own = (*(PYTORCH_ROWS if self.reference else ()), *self.subject.rows)
        wanted = {*(self.options.backends or own), *self.options.require}
        return tuple(name for name in ROW_NAMES if name in wanted)

    def apart(self, name: str) -> Candidate:
        """A row in a process of its own; PyTorch in this one, as the truth is, for a live module cannot leave it."""
        if self.reference is not None and name in PYTORCH_ROWS:
            return self.reference.candidate(name)
        opener = functools.partial(self.subject.open, name, self.options.threads)
        return IsolatedCandidate(opener, self.options.case_timeout_s)

    def here(self, name: str) -> Candidate:
        """A row in this process, to be timed."""
        if self.reference is not None and name in PYTORCH_ROWS:
            return self.reference.candidate(name)
        return self.subject.open(name, self.options.threads)
