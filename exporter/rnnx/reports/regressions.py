"""What became worse since an earlier report, as values."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Regression:
    """One thing that an earlier report had better: a row, case, check or latency of one backend, before and now."""

    kind: Literal["parity", "check", "drift", "latency"]
    backend: str
    subject: str
    before: str
    now: str
