"""`python -m g2p.export models/g2p-lstm -o build/g2p`: the whole model as ONNX, letters in and phonemes out.

Writes `<name>.seq2seq.json` with its encoder, its decoder's step, the loop, and all of it in one graph.
"""

import argparse
from pathlib import Path

import torch

from g2p.dictionary import END, LETTERS, PAD, START
from g2p.evaluate import load
from g2p.network import MAX_PHONEMES, SpellerEncoder, SpellerStep
from rnnx.decoders.pair_export import Seq2SeqExportReport, export_seq2seq
from rnnx.decoders.pair_options import Seq2SeqOptions


def export_speller(folder: Path, output: Path) -> Seq2SeqExportReport:
    """Export the trained network of a model folder into `output`, with every graph there is."""
    speller = load(folder)
    torch.manual_seed(0)
    lengths = torch.tensor([7, 4, 5])
    letters = torch.randint(1, len(LETTERS), (7, 3)) * (torch.arange(7)[:, None] < lengths)
    options = Seq2SeqOptions(
        start_token=START, end_token=END, pad_token=PAD, max_steps=MAX_PHONEMES, loop=True, whole=True
    )
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{folder.name}.seq2seq.json"
    return export_seq2seq(
        SpellerEncoder(speller).eval(), SpellerStep(speller).eval(), (letters, lengths), path, options
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="g2p.export")
    parser.add_argument("folder", type=Path, help="a model's folder, such as models/g2p-lstm")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/g2p"), help="default: build/g2p")
    chosen = parser.parse_args()
    report = export_speller(chosen.folder, chosen.output)
    print(f"{report.path}: {', '.join(path.name for path in [report.encoder.path, *_paths(report)])}")


def _paths(report: Seq2SeqExportReport) -> list[Path]:
    return [file.path for file in report.decoders.values()]


if __name__ == "__main__":
    main()
