"""`python -m g2p.evaluate models/g2p-lstm`: phoneme and word error rate of a trained model on the test words."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file

from g2p.dictionary import entries
from g2p.network import Speller
from g2p.scoring import score


def load(folder: Path) -> Speller:
    """The trained network of a model folder, in inference mode."""
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        sizes = json.loads(file.metadata()["speller"])
    network = Speller(**sizes, dropout=0.0)
    network.load_state_dict(load_file(path))
    return network.eval()


def main() -> None:
    folder = Path(sys.argv[1])
    result = score(load(folder), entries("test"))
    (folder / "quality.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
    print(f"{folder.name}: PER {result.per:.2f} %  WER {result.wer:.2f} %  on {result.words} test words")


if __name__ == "__main__":
    main()
