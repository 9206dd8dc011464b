"""Each plugin's package works alone: its wheel and the core's are all of ours that is installed.

pip fetches the packages that they depend on. So these tests need the package registry.
"""

import json
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any, Final

import pytest

from framework.embedded.broker import EmbeddedBroker
from tests.test_docs import ROOT, Terminal, blocks_of, write_files

PLUGINS: Final = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
FORMATS: Final = "schemaregistry"
"""It has formats alone. Its README's example needs other packages and a registry."""
STORE: Final = "postgresql"
"""It has a store alone. Its README's example needs a server, and its own tests run it."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first test also builds all wheels


def done(*command: object) -> str:
    """What a command printed."""
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert result.returncode == 0, (command, result.stderr)
    return result.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the core, of each plugin, and of all that they depend on."""
    folder = tmp_path_factory.mktemp("wheels")
    packages = [ROOT, *(ROOT / "plugins" / name for name in PLUGINS)]
    done(sys.executable, "-m", "pip", "wheel", "--wheel-dir", folder, *packages)
    return folder


@pytest.fixture
def programs(plugin: str, wheels: Path, tmp_path: Path) -> Path:
    """The programs of an environment with the wheels of that plugin, of the core, and of what these depend on."""
    home = tmp_path / "environment"
    venv.create(home, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", home / "bin" / "python"]
    done(*pip, "install", "--no-compile", "--no-index", "--find-links", wheels, f"framework-{plugin}")
    return home / "bin"


def installed(programs: Path) -> list[dict[str, Any]]:
    """The plugins there, without those that Python finds by the environment of these tests."""
    command = [programs / "python", "-I", "-m", "framework", "plugins", "list", "--json"]
    found: list[dict[str, Any]] = json.loads(done(*command))
    return found


@pytest.mark.parametrize("plugin", [name for name in PLUGINS if name not in (FORMATS, STORE)])
def test_the_example_of_a_package_prints_what_its_readme_shows(plugin: str, programs: Path, tmp_path: Path) -> None:
    page = f"plugins/{plugin}/README.md"
    commands = [command for block in blocks_of(page, "console") for command in block.commands]
    assert any(command.startswith("framework run ") and shown for command, shown in commands)
    write_files(page, tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with EmbeddedBroker() as broker:
        Terminal(tmp_path, broker.bootstrap_servers, programs).run(commands)
    assert [(each["name"], each["status"]) for each in installed(programs)] == [(plugin, "ok")]


@pytest.mark.parametrize("plugin", [FORMATS])
def test_the_formats_of_the_readme_can_be_used(plugin: str, programs: Path) -> None:
    readme = (ROOT / "plugins" / plugin / "README.md").read_text()
    named = re.findall(r"^\| `(sr-[a-z]+)` \|", readme, re.MULTILINE)
    [found] = installed(programs)
    assert (found["name"], found["status"], found["formats"]) == (plugin, "ok", sorted(named))


@pytest.mark.parametrize("plugin", [STORE])
def test_the_store_of_the_readme_can_be_used(plugin: str, programs: Path) -> None:
    [found] = installed(programs)
    assert (found["name"], found["status"], found["stores"]) == (plugin, "ok", [plugin])
