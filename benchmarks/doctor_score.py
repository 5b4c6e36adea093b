"""How right `rnnx doctor` is: `python benchmarks/doctor_score.py`.

Right files by six makers must have no warning and no error. One kind of error is true of a right file: that TensorRT
refuses it, which is proved here by asking TensorRT. Broken files are right ones with one thing broken
(`tests/examined_files/broken_*.py`); a finding must name it, by a rule that was written down with the breaking.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from rounds import write_result

from rnnx.cli.render import print_table
from rnnx.linting.examination import doctor
from rnnx.linting.findings import Finding
from rnnx_runtime.errors import RnnxError

REFUSED = "tensorrt-refused"

ROOT = Path(__file__).parents[1]

_BUILD = """
import sys
from pathlib import Path
import tensorrt_rtx as trt
logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
builder = trt.Builder(logger)
network = builder.create_network(0)
parser = trt.OnnxParser(network, logger)
if not parser.parse(Path(sys.argv[1]).read_bytes()):
    sys.exit("refused")
config, profile = builder.create_builder_config(), builder.create_optimization_profile()
for index in range(network.num_inputs):
    own = network.get_input(index)
    if -1 in tuple(own.shape):
        shape = [512 if size < 0 else size for size in own.shape]
        profile.set_shape(own.name, shape, shape, shape)
config.add_optimization_profile(profile)
sys.exit(None if builder.build_serialized_network(network, config) is not None else "refused")
"""


def main() -> None:
    """Examine, count, write down and print."""
    sys.path.insert(0, str(ROOT))  # the files are the tests' own
    with tempfile.TemporaryDirectory() as name:
        right, broken = list(_right(Path(name))), list(_broken(Path(name)))
    clean, named = sum(not own["told"] for own in right), sum(own["named"] for own in broken)
    data = {
        "right": {"files": len(right), "clean": clean, "makers": dict(Counter(own["maker"] for own in right))},
        "broken": {"files": len(broken), "named": named},
        "right_files": right,
        "broken_files": broken,
    }
    write_result("doctor_score", "python benchmarks/doctor_score.py", data)
    print_table("Right files", ("maker", ">files", ">clean"), _makers(right))
    print_table("Broken files", (">files", ">named"), [(str(len(broken)), str(named))])
    for own in (*right, *broken):
        if own.get("told") or not own.get("named", True):
            print(own)
    sys.exit(0 if clean == len(right) else 1)


def _makers(right: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for maker in dict.fromkeys(own["maker"] for own in right):
        files = [own for own in right if own["maker"] == maker]
        yield maker, str(len(files)), str(sum(not own["told"] for own in files))


def _right(folder: Path) -> Iterator[dict[str, Any]]:
    from tests.examined_files.right_files import right_files

    for maker, name, path in right_files(folder):
        told = [own for own in doctor(path).findings if own.severity != "info"]
        refused = any(own.rule == REFUSED for own in told) and _is_refused(path)
        false = [_words(own) for own in told if not (refused and own.rule == REFUSED)]
        yield {"maker": maker, "name": name, "told": false, "tensorrt_refuses": refused}


def _is_refused(path: Path) -> bool:
    """Whether TensorRT for RTX neither parses the file nor builds it; in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _BUILD, str(path)], capture_output=True, check=False)
    return done.returncode != 0


def _broken(folder: Path) -> Iterator[dict[str, Any]]:
    from tests.examined_files.broken import BROKEN

    for make, rules in BROKEN.items():
        path = folder / f"{make.__name__}.onnx"
        onnx.save(make().model(), path)
        try:
            findings = doctor(path).findings
        except RnnxError as error:
            yield {"name": make.__name__, "breaks": make.__doc__, "named": False, "told": [], "error": str(error)}
            continue
        found = [own.rule for own in findings if own.rule in rules]
        yield {"name": make.__name__, "breaks": make.__doc__, "rules": rules, "named": bool(found)}


def _words(finding: Finding) -> str:
    return f"{finding.severity} {finding.rule}: {finding.node}"


if __name__ == "__main__":
    main()
