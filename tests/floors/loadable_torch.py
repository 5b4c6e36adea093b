"""A CUDA build of PyTorch, made to load without CUDA's libraries, for work on the CPU.

PyPI's torch for Linux loads gigabytes of CUDA libraries that work on the CPU never calls. Stand-ins of a few kilobytes
take their place: each has the library's name and its symbols, and every function of it answers "no device".
"""

import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

NO_DEVICE = 100
"""cudaErrorNoDevice and CUDA_ERROR_NO_DEVICE."""

_CUDA_LIBRARY = re.compile(r"lib(cu|nv|nccl)")
_CUDA_PACKAGE = re.compile(r"^Requires-Dist: (nvidia|cuda|triton)\b.*\n", re.MULTILINE)


def leave_cuda_out(packages: Path) -> int:
    """Write the stand-ins that the torch in `packages` lacks, and forget that it wants CUDA; how many there are.

    A CPU build is left as it is. Linux alone, with a C compiler and binutils.
    """
    libraries = packages / "torch" / "lib"
    wanted = _wanted(libraries)
    for library, versions in wanted.items():
        _write(libraries / library, versions)
    (metadata,) = packages.glob("torch-*.dist-info/METADATA")
    metadata.write_text(_CUDA_PACKAGE.sub("", metadata.read_text(encoding="utf-8")), encoding="utf-8")
    return len(wanted)


def _wanted(libraries: Path) -> dict[str, dict[str, set[str]]]:
    """The symbols of each missing library by their version."""
    wanted: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted(libraries.glob("*.so*")):
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", _printed("readelf", "-dW", path))
        missing = {name for name in needed if _CUDA_LIBRARY.match(name) and not (libraries / name).exists()}
        if not missing:
            continue
        owners = _owners(path)
        for library in missing:
            wanted[library].update()
        for symbol, version in re.findall(r"\b[Uw] (\w+)(?:@(\S+))?", _printed("nm", "-D", "--undefined-only", path)):
            if owners.get(version) in missing:
                wanted[owners[version]][version].add(symbol)
            elif not version and re.match(r"_*(cu|nv|nccl)", symbol):
                wanted[min(missing)][""].add(symbol)
    return wanted


def _owners(path: Path) -> dict[str, str]:
    """Which library each version of a symbol belongs to."""
    owners, library = dict[str, str](), ""
    for line in _printed("readelf", "-VW", path).splitlines():
        if file := re.search(r"File: (\S+)", line):
            library = file[1]
        elif (name := re.search(r"Name: (\S+)", line)) and library:
            owners[name[1]] = library
    return owners


def _write(path: Path, versions: Mapping[str, set[str]]) -> None:
    symbols = sorted(set().union(*versions.values()))
    named = {version: own for version, own in versions.items() if version}
    source, script = path.with_suffix(".c"), path.with_suffix(".map")
    source.write_text("".join(f"long {symbol}(void) {{ return {NO_DEVICE}; }}\n" for symbol in symbols))
    script.write_text(
        "".join(f"{version} {{ global: {'; '.join(sorted(own))}; }};\n" for version, own in named.items())
    )
    options = [f"-Wl,-soname,{path.name}", *([f"-Wl,--version-script={script}"] if named else [])]
    _printed("cc", "-w", "-shared", "-fPIC", "-fno-builtin", *options, "-o", path, source)
    source.unlink()
    script.unlink()


def _printed(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
