import argparse
import collections
import datetime
import enum
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnnx.errors import CheckpointError
from rnnx.weights.checkpoint import open_checkpoint
from rnnx.weights.stand_ins import may_stand_in

CALLED: list[str] = []


class Attributes(dict[str, Any]):
    """A mapping of a class of its own, as Lightning keeps hyper-parameters."""


class Config:
    """A training script's own class, whose code must not run."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)

    def __setstate__(self, state: Any) -> None:
        CALLED.append("__setstate__")


class Rate(enum.Enum):
    """An enumeration, which pickle makes by a call."""

    FAST = 1


def beside(**others: Any) -> dict[str, Any]:
    return {"state_dict": nn.GRU(2, 3).state_dict(), **others}


OTHERS: dict[str, dict[str, Any]] = {
    "namespace": {"args": argparse.Namespace(lr=0.1, layers=[1, 2], out=Path("runs"))},
    "numpy-scalar": {"best": np.float64(0.5), "step": np.int64(3), "loss": np.float32(2)},
    "numpy-array": {"curve": np.arange(3.0)},
    "mapping": {"hparams": Attributes(rate=0.1, config=Config(depth=2))},
    "class": {"hparams_type": Attributes, "rate": Rate.FAST},
    "plain-library": {"when": datetime.datetime(2024, 1, 2), "seen": collections.defaultdict(list, {"a": [1]})},
    "criterion": {"hyper_parameters": {"loss": Config(weight=torch.ones(3))}},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", OTHERS)
def test_tensors_are_read_beside_other_objects_and_nothing_runs(kind: str, legacy: bool, tmp_path: Path) -> None:
    content = beside(**OTHERS[kind])
    torch.save(content, tmp_path / "last.ckpt", _use_new_zipfile_serialization=not legacy)
    CALLED.clear()
    checkpoint = open_checkpoint(tmp_path / "last.ckpt")
    assert [*checkpoint.tensors] == [f"state_dict.{name}" for name in content["state_dict"]]
    assert np.array_equal(
        checkpoint.read("state_dict.weight_ih_l0"), content["state_dict"]["weight_ih_l0"].detach().numpy()
    )
    assert CALLED == []


class _Command:
    """What an attacker pickles: a call of Python's own library."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("made-by-a-pickle",)


UNSAFE: dict[str, tuple[dict[str, Any], str]] = {
    "command": ({"args": _Command()}, "mkdir"),
    "command-inside": ({"args": Config(then=[_Command()])}, "mkdir"),
    "module": ({"model": nn.GRU(2, 3)}, "torch.nn.modules.rnn.GRU"),
    "tensors-in-an-object": (
        {"model": Config(weights={"w": [torch.ones(2)]})},
        "an object at 'model' that holds tensors",
    ),
    "tensors-in-an-object-of-a-mapping": ({"a": Attributes(b=Config(w=torch.ones(2)))}, "an object at 'a.b'"),
}


@pytest.mark.parametrize(("others", "reason"), UNSAFE.values(), ids=UNSAFE)
def test_what_could_hold_weights_or_code_is_refused(
    others: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(beside(**others), "last.ckpt")
    with pytest.raises(CheckpointError, match="a pickle that needs more than tensors") as refused:
        open_checkpoint(Path("last.ckpt"))
    assert reason in str(refused.value)
    assert [own.name for own in tmp_path.iterdir()] == ["last.ckpt"]


def test_torch_itself_refuses_these_files_before_and_after(tmp_path: Path) -> None:
    torch.save(beside(args=argparse.Namespace(lr=1)), tmp_path / "last.ckpt")
    open_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(Exception, match=r"argparse\.Namespace"):
        torch.load(tmp_path / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("argparse.Namespace", True),
        ("omegaconf.dictconfig.DictConfig", True),
        ("__main__.Config", True),
        ("numpy.core.multiarray.scalar", True),
        ("torch.hub.load", False),
        ("os.system", False),
        ("posix.system", False),
        ("builtins.eval", False),
        ("subprocess.Popen", False),
        ("functools.partial", False),
    ],
)
def test_which_names_may_be_left_inert(name: str, expected: bool) -> None:
    assert may_stand_in(name) is expected
