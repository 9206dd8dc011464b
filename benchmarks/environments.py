"""A virtual environment for each peer, made at its first use from the peer's pinned requirements."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

__all__ = ["CACHE", "Unavailable", "installed_version", "pinned_version", "python_of"]

CACHE: Final = Path(__file__).parents[1] / ".cache" / "benchmarks"
_PEERS: Final = Path(__file__).parent / "peers"
_LAST_LINES: Final = 5


class Unavailable(Exception):  # noqa: N818 - not an error, but a property of this machine
    """A contestant cannot run on this machine. The message says why."""


def python_of(peer: str, version: str | None = None) -> Path:
    """An interpreter with the packages of `peers/PEER/requirements.txt`, of this Python version or the present one's.

    Raises `Unavailable`.
    """
    home = CACHE / "venvs" / peer
    python, stamp = home / "bin" / "python", home / "made-of"
    requirements = _PEERS / peer / "requirements.txt"
    made_of = f"{version or sys.version.split()[0]} {hashlib.sha256(requirements.read_bytes()).hexdigest()}"
    if not stamp.exists() or stamp.read_text() != made_of:
        base = Path(sys.executable) if version is None else _interpreter(version)
        _run("make a virtual environment", str(base), "-m", "venv", "--clear", str(home))
        pip = (str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        _run(f"install {peer}", *pip, "--requirement", str(requirements))
        stamp.write_text(made_of)
    return python


def pinned_version(peer: str, package: str) -> str:
    """The version of a package in the peer's requirements."""
    requirements = (_PEERS / peer / "requirements.txt").read_text()
    found = re.search(rf"^{re.escape(package)}==(\S+)", requirements, re.MULTILINE)
    return found[1] if found else "unknown"


def installed_version(package: str) -> str:
    """The version of a package in the environment of this process."""
    return metadata.version(package)


def _interpreter(version: str) -> Path:
    """An interpreter of this version, on the PATH or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    on_path = shutil.which(f"python{version}")
    candidates = [*([on_path] if on_path else []), *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python")))]
    for python in candidates:
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return Path(python)
    raise Unavailable(f"no Python {version} on this machine")


def _run(what: str, *command: str) -> None:
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode:
        raise Unavailable(f"could not {what}: " + " / ".join(result.stdout.strip().splitlines()[-_LAST_LINES:]))
