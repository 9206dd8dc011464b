#!/usr/bin/env python3
"""Sets up what this repository needs in a virtual environment of its own, and works in it.

    python3 dev.py run [ARGUMENTS]   framework run; without arguments: count real flights by destination
    python3 dev.py test [ARGUMENTS]  all tests; arguments go to pytest
    python3 dev.py unit [ARGUMENTS]  the tests that need no Kafka, on each other supported Python on this machine
    python3 dev.py benchmark [ARGS]  framework and its peers side by side; arguments go to benchmarks: --quick
    python3 dev.py lint              ruff, its formatter, and mypy
    python3 dev.py docs [ARGUMENTS]  the documentation as a site, in site/; arguments go to mkdocs: serve

Needs Python 3.11 or newer, and nothing else. CONTRIBUTING.md tells more.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # who runs an older one learns it here
    sys.exit(f"dev.py needs Python 3.11 or newer, but this is {sys.version.split()[0]}: try python3.11 dev.py")

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGES = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
SPEEDUPS = ROOT / "speedups"
FLIGHTS = ROOT / "examples" / "data" / "flights-2013-01.csv"
COUNT_FLIGHTS = ["--plugin", "keycount", "--input", os.path.relpath(FLIGHTS), "--input-key", "dest", "--stop-at-end"]
BUILD_SITE = ["build", "--strict"]
CODE = ["framework", "plugins", "speedups", "tests", "benchmarks", "docs", "dev.py"]
NO_KAFKA = ["-m", "not kafka and not docker", "--ignore=tests/end_to_end", "--ignore=tests/faults"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def main(arguments: list[str]) -> int:
    """Run the named command; gives the exit status."""
    name, *rest = arguments or [""]
    if name in ("-h", "--help"):
        print(__doc__)
        return 0
    commands = {"run": run, "test": test, "unit": unit, "benchmark": benchmark, "lint": lint, "docs": docs}
    if name not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    return commands[name](rest)


def run(arguments: list[str]) -> int:
    """`framework run`, where the caller is."""
    framework = set_up(Path(sys.executable)) / "framework"
    return execute(framework, "run", *(arguments or COUNT_FLIGHTS))


def test(arguments: list[str]) -> int:
    """All tests."""
    bin_directory = set_up(Path(sys.executable), "test")
    os.chdir(ROOT)
    return execute(bin_directory / "python", "-m", "pytest", *arguments)


def unit(arguments: list[str]) -> int:
    """The tests that need no Kafka, on every supported Python but this one."""
    os.environ["FRAMEWORK_TEST_BROKER"] = "embedded"
    status = 0
    for version in supported_versions():
        if version == version_of(Path(sys.executable)):
            continue
        python = find_python(version)
        if python is None:
            say(f"no Python {version} on this machine")
            continue
        bin_directory = set_up(python, "test", venv=f".venv-{version}")
        command = [str(bin_directory / "python"), "-m", "pytest", *NO_KAFKA, *arguments]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode or status
    return status


def benchmark(arguments: list[str]) -> int:
    """The benchmarks; see benchmarks/README.md."""
    bin_directory = set_up(Path(sys.executable), "test", "benchmark")
    os.chdir(ROOT)
    return execute(bin_directory / "python", "-m", "benchmarks", *arguments)


def lint(arguments: list[str]) -> int:
    """All linters; the first that complains does not keep the others from it."""
    if arguments:
        sys.exit(f"dev.py: lint takes no arguments, but got {' '.join(arguments)}")
    bin_directory = set_up(Path(sys.executable), "test", "benchmark", "lint")
    commands = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy", *CODE])
    statuses = [
        subprocess.run([str(bin_directory / program), *rest], cwd=ROOT, check=False).returncode
        for program, *rest in commands
    ]
    return max(statuses)


def docs(arguments: list[str]) -> int:
    """The documentation as a site; a link that leads nowhere is an error."""
    bin_directory = set_up(Path(sys.executable), "docs", venv=".venv-docs")
    os.chdir(ROOT)
    return execute(bin_directory / "python", "-m", "mkdocs", *(arguments or BUILD_SITE))


def set_up(python: Path, *groups: str, venv: str = ".venv") -> Path:
    """Make sure that the virtual environment has our packages and the dependency groups; gives its programs' folder.

    What is there is kept, as long as it was made by the same Python from the same pyproject files.
    """
    home = ROOT / venv
    bin_directory, stamp = home / "bin", home / "set-up.json"
    usable = stamp.exists() and (bin_directory / "python").exists()
    found = json.loads(stamp.read_text()) if usable else {"made_of": None, "groups": []}
    wanted = {
        "made_of": [version_of(python, full=True), str(ROOT)],
        "projects": fingerprint(),
        "groups": sorted({*groups, *found["groups"]}),
    }
    if found != wanted:
        say(f"setting up {venv} with Python {version_of(python, full=True)}")
        if found["made_of"] != wanted["made_of"]:
            create(python, home)
        install(bin_directory / "python", *wanted["groups"])
        stamp.write_text(json.dumps(wanted))
    return bin_directory


def install(python: Path, *groups: str) -> None:
    """Install our packages, so that changes to them are seen, and what the dependency groups name."""
    missing = compiler_missing(python)
    if missing:
        say(f"without speedups/, so records are decoded more slowly: {missing}")
    paths = PACKAGES if missing else [*PACKAGES, SPEEDUPS]
    packages = [argument for path in paths for argument in ("--editable", str(path))]
    requirements = [line for group in groups for line in PYPROJECT["dependency-groups"][group]]
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    status = subprocess.run([*pip, *packages, *requirements], check=False).returncode
    if status != 0:
        sys.exit(f"dev.py: pip ended with exit status {status}; its reason stands above")


def create(python: Path, home: Path) -> None:
    """Create an empty virtual environment."""
    if subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode != 0:
        package = f"python{version_of(python)}-venv"
        sys.exit(f"dev.py: {python} cannot make virtual environments; on Debian or Ubuntu, install {package}")
    subprocess.run([python, "-m", "venv", "--clear", home], check=True)


def compiler_missing(python: Path) -> str | None:
    """Why that interpreter's extensions cannot be compiled on this machine; None if they can."""
    script = "import sysconfig; print(sysconfig.get_config_var('CC') or 'cc'); print(sysconfig.get_path('include'))"
    compiler, include = subprocess.check_output([python, "-c", script], text=True).splitlines()
    command = [*shlex.split(compiler), "-fsyntax-only", "-x", "c", f"-I{include}", "-"]
    try:
        result = subprocess.run(command, input="#include <Python.h>", capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"there is no C compiler, {command[0]}"
    if result.returncode != 0:
        return f"{command[0]} cannot compile for Python: {result.stderr.splitlines()[0]}"
    return None


def fingerprint() -> str:
    """Changes with any of the pyproject files, and with what is compiled, or how."""
    files = [SPEEDUPS / "setup.py", *(path / "pyproject.toml" for path in [*PACKAGES, SPEEDUPS])]
    files += sorted(SPEEDUPS.glob("framework_speedups/*.[ch]"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def supported_versions() -> list[str]:
    """The Python versions, such as 3.12, that the project says it supports."""
    lines = [line.rpartition(" :: ") for line in PYPROJECT["project"]["classifiers"]]
    return [version for prefix, _, version in lines if prefix == "Programming Language :: Python"]


def find_python(version: str) -> Path | None:
    """An interpreter of that version: on the PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    on_path = shutil.which(f"python{version}")
    candidates = [*([Path(on_path)] if on_path else []), *sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    return next((python for python in candidates if version_of(python) == version), None)


def version_of(python: Path, *, full: bool = False) -> str | None:
    """The version of an interpreter, as 3.12 or in full; None if it does not run."""
    script = "import platform, sys; print(platform.python_version(), '%d.%d' % sys.version_info[:2])"
    result = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    return result.stdout.split()[not full] if result.returncode == 0 else None


def execute(program: Path, *arguments: str) -> int:
    """Become the program, so that signals and the exit status are its own."""
    say(" ".join([program.name, *arguments]))
    os.execv(program, [str(program), *arguments])


def say(what: str) -> None:
    """Tell the person what happens, beside the program's own output."""
    print(f"dev.py: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
