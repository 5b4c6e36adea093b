import sys
from pathlib import Path

import pytest

from rnnx.errors import MissingExtraError
from rnnx.extras import require


def test_an_installed_module_is_imported() -> None:
    assert require("json.decoder", extra="export", purpose="reading") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.inner"])
def test_a_missing_module_names_the_pip_command(module: str) -> None:
    with pytest.raises(MissingExtraError) as caught:
        require(module, extra="export", purpose="reading model.pt")
    assert str(caught.value) == (
        f"reading model.pt: got no package {module}, expected it installed; pip install 'rnnx[export]'"
    )


@pytest.mark.parametrize("inner", ["no_such_package", "brok", "broken_package_core"])
def test_a_broken_module_keeps_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str) -> None:
    (tmp_path / "broken_package.py").write_text(f"import {inner}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=inner):
        require("broken_package", extra="export", purpose="reading")
