"""What adopting found, could not find, and wrote."""

from dataclasses import dataclass
from pathlib import Path

from rnnx_runtime.contract import Contract


@dataclass(frozen=True, kw_only=True)
class AdoptReport:
    """Both files, the contract, and how far it is proved.

    `states` say of each pair what speaks for it; `proofs` what was tried and held; `notes` what was guessed and
    dropped, fixed or renamed; `checks` what the written file passed. `source` is the file that was adopted.
    """

    path: Path
    golden: Path
    source: str
    contract: Contract
    states: tuple[str, ...]
    proofs: tuple[str, ...]
    notes: tuple[str, ...]
    checks: tuple[str, ...]
    nodes: dict[str, int]
    bytes: int
