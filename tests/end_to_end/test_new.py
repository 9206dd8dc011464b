"""The packages of `framework new`, as they are made: installed, tested, type-checked, and run as their README says."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from framework.cli.new import TEMPLATES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An environment of its own, which also sees the packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    own = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return own


def run(command: list[str | Path], cwd: Path, python: Path) -> str:
    environ = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_package_works_as_it_is(template: str, python: Path, tmp_path: Path) -> None:
    run([sys.executable, "-m", "framework", "new", "of-mine", "--template", template, "--yes"], tmp_path, python)
    package = tmp_path / "framework-of-mine"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    run([*pip, "--no-deps", "--editable", package], tmp_path, python)

    assert re.search(r"\b[1-9]\d* passed", run([python, "-m", "pytest", "-q"], package, python))
    assert "no issues found" in run([python, "-m", "mypy", "--cache-dir", tmp_path / "mypy"], package, python)
    (example,) = re.findall(
        r"^\$ framework (run .*)\n((?:.*\n)*?)```", (package / "README.md").read_text(), re.MULTILINE
    )
    printed = run([python, "-m", "framework", *example[0].split()], package, python)
    assert printed == example[1]
    assert printed.count("\n") > 1
    listed = run([python, "-m", "framework", "plugins", "list"], package, python)
    assert re.search(r"^of-mine +framework-of-mine +0\.1\.0 .* ok *$", listed, re.MULTILINE)
