"""The client that pronounces words, against the network in PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from tests.examples.service.server_process import ROOT, ServerProcess

from g2p.dictionary import LETTERS, PHONEMES
from g2p.network import Speller

WORDS = ("tensor", "python", "o'clock")


def pronounced_by_torch() -> list[str]:
    speller = Speller("lstm", embedding=64, hidden=192, dropout=0.0).eval()
    speller.load_state_dict(load_file(ROOT / "models" / "g2p-lstm" / "model.safetensors"))
    lines = []
    for word in WORDS:
        letters = torch.tensor([[LETTERS.index(letter)] for letter in word])
        lines.append(" ".join([word, *(PHONEMES[index] for index in speller.pronounce(letters)[0])]))
    return lines


def test_words_are_pronounced_as_pytorch_pronounces_them(trained: Path) -> None:
    path = os.pathsep.join([str(ROOT / "models"), str(ROOT / "examples")])  # examples/g2p.py is a script
    with ServerProcess(trained) as server:
        done = subprocess.run(
            [sys.executable, "-m", "service.spell", "--address", server.address, *WORDS],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.splitlines() == pronounced_by_torch(), done.stderr
