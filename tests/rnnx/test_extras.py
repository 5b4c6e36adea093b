import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from rnnx.errors import BrokenExtraError, MissingExtraError
from rnnx.extras import require


class Packages(Protocol):
    """Installs a package of one module, and one part of it, for this test."""

    def __call__(self, name: str, body: str, *, version: str) -> None: ...


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """A folder to install packages into; they are forgotten after the test."""
    made: list[str] = []

    def install(name: str, body: str, *, version: str) -> None:
        made.append(name)
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"{body}\n", encoding="utf-8")
        (tmp_path / name / "part.py").touch()
        information = tmp_path / f"{name}-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
        )
        (information / "top_level.txt").write_text(f"{name}\n", encoding="utf-8")

    monkeypatch.syspath_prepend(tmp_path)
    yield install
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] in made]:
        del sys.modules[loaded]


def test_an_installed_module_is_imported() -> None:
    assert require("json.decoder", extra="export", purpose="reading") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.inner"])
def test_a_missing_module_names_the_pip_command(module: str) -> None:
    with pytest.raises(MissingExtraError) as caught:
        require(module, extra="export", purpose="reading model.pt")
    assert str(caught.value) == (
        f"reading model.pt: got no package {module}, expected it installed; pip install 'rnnx[export]'"
    )


@pytest.mark.parametrize("inner", ["no_such_package", "brok", "broken_package_core", "no_such_package.part"])
def test_a_module_that_a_package_lacks_is_named(packages: Packages, inner: str) -> None:
    packages("broken_package", f"import {inner}", version="1.2")
    assert str(broken("broken_package")) == (
        f"reading: got no module {inner.partition('.')[0]}, which broken_package 1.2 imports, expected it installed; "
        "pip install --upgrade 'rnnx[export]'"
    )


MISMATCHES = {
    "attribute": ("import old_package\nold_package.float4", "AttributeError: module 'old_package' has no attribute"),
    "name": ("from old_package import float4", "ImportError: cannot import name 'float4' from 'old_package'"),
    "deep-name": ("from old_package.part import float4", "ImportError: cannot import name 'float4'"),
    "call": ("import old_package\nold_package.check()", "RuntimeError: compiled against another ABI"),
}


@pytest.mark.parametrize("kind", MISMATCHES)
def test_two_packages_that_do_not_fit_are_named_with_their_versions(packages: Packages, kind: str) -> None:
    body, text = MISMATCHES[kind]
    packages("old_package", "def check():\n    raise RuntimeError('compiled against another ABI')", version="0.4.1")
    packages("new_package", body, version="1.19.0")
    error = broken("new_package")
    assert error.got.startswith(text)
    assert error.got.endswith("from importing new_package")
    assert error.expected == "versions that fit together, not new_package 1.19.0 with old_package 0.4.1"
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "body", ["raise OSError('libcublas.so.12: cannot open shared object file')", "1 / 0", "oops ="]
)
def test_any_other_failure_of_an_import_names_the_package(packages: Packages, body: str) -> None:
    packages("new_package", body, version="1.19.0")
    assert broken("new_package").expected == "versions that fit together, not new_package 1.19.0"


def test_a_failure_keeps_its_cause(packages: Packages) -> None:
    packages("new_package", "1 / 0", version="1")
    assert isinstance(broken("new_package").__cause__, ZeroDivisionError)


def test_a_package_without_metadata_is_named_without_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loose_module.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert broken("loose_module").expected == "versions that fit together, not loose_module"


def broken(package: str) -> BrokenExtraError:
    """The error of importing a package that is there and fails."""
    with pytest.raises(BrokenExtraError) as caught:
        require(package, extra="export", purpose="reading")
    return caught.value
