"""Environments for packages under test, which also see the packages of the environment that runs the tests."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Environment"]

_SECONDS = 300


class Environment:
    """A virtual environment in `directory`."""

    def __init__(self, directory: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
        (site,) = directory.glob("lib/python*/site-packages")
        (site / "others.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        self._programs = directory / "bin"
        for name in ("framework", "pytest", "mypy"):
            (self._programs / name).write_text(
                f"#!{self._programs / 'python'}\nimport runpy\nrunpy.run_module({name!r}, run_name='__main__')\n"
            )
            (self._programs / name).chmod(0o755)

    def install(self, *arguments: str | Path) -> None:
        """Install a package without its dependencies."""
        pip = (sys.executable, "-m", "pip", "--python", self._programs / "python", "--disable-pip-version-check")
        self.run([*pip, "install", "--quiet", "--no-deps", *arguments], Path.cwd())

    def run(self, command: str | Sequence[str | Path], cwd: Path) -> str:
        """Run a command line, or a command, with the programs of the environment first; return what it prints.

        Raises `AssertionError` with its messages if it fails.
        """
        ended = subprocess.run(
            ["bash", "-c", command] if isinstance(command, str) else command,
            cwd=cwd,
            env={**os.environ, "PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout
