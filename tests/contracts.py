"""Contracts and recurrences for tests, from a layer's facts in one flat list."""

import dataclasses
from typing import Any

from rnnx_runtime.contract import Contract, Recurrence, Source, layer_contract

_OF_CONTRACT = ("precision", "source", "versions", "golden_sha256")


def recurrence_of(**values: Any) -> Recurrence:
    """A recurrence; what only a contract has is left out."""
    return Recurrence(**{name: value for name, value in values.items() if name not in _OF_CONTRACT})


def contract_of(**values: Any) -> Contract:
    """The contract of a bare layer."""
    own: dict[str, Any] = {"precision": "float32", "source": Source(file="", module="", weights_sha256="")}
    own |= {name: value for name, value in values.items() if name in _OF_CONTRACT}
    return layer_contract(recurrence_of(**values), **own)


def changed(contract: Contract, **changes: Any) -> Contract:
    """A bare layer's contract with some of its facts changed."""
    own = {name: getattr(contract, name) for name in _OF_CONTRACT}
    return contract_of(**dataclasses.asdict(contract.layer()) | own | changes)
