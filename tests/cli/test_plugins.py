import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from framework.cli.plugins import plugins
from framework.errors import PluginError

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "ten_lines.py")


def invoke(*args: str) -> Result:
    return CliRunner().invoke(plugins, args, catch_exceptions=False)


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed plugin that cannot be imported."""
    info = tmp_path / "dist_broken-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dist-broken\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[framework.plugins]\nbroken = no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("broken")
def test_list_shows_every_plugin_and_why_one_is_broken() -> None:
    result = invoke("list")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "framework-keycount" in lines["keycount"]
    assert "processor keycount" in lines["keycount"]
    assert lines["keycount"].rstrip().endswith("ok")
    assert "dist-broken" in lines["broken"]
    assert "No module named 'no_such_module'" in lines["broken"]


@pytest.mark.usefixtures("broken")
def test_list_as_json() -> None:
    found = {one["name"]: one for one in json.loads(invoke("list", "--json").stdout)}
    assert found["sumbykey"]["processors"] == ["sumbykey"]
    assert found["sumbykey"]["reason"] is None
    assert found["broken"] | {"reason": ""} == {
        "name": "broken",
        "distribution": "dist-broken",
        "version": "2.0",
        "processors": [],
        "codecs": [],
        "stores": [],
        "formats": [],
        "observers": [],
        "status": "broken",
        "reason": "",
    }
    assert "no_such_module" in found["broken"]["reason"]


def test_list_of_nothing_says_so_beside_an_empty_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framework.cli.plugins.discover", list)
    result = invoke("list")
    assert result.stdout == ""
    assert "no plugins are installed" in result.stderr
    assert json.loads(invoke("list", "--json").stdout) == []


def test_info_tells_the_options() -> None:
    output = invoke("info", "sumbykey").stdout
    for part in (
        "framework-sumbykey",
        "json-decimal",
        "(required)",
        "decimal|int|float",
        "dots reach into objects",
        "or as the options say",
    ):
        assert part in output


def test_info_as_json() -> None:
    (processor,) = json.loads(invoke("info", "sumbykey", "--json").stdout)["processors"]
    field, number = processor["options"]
    assert (field["name"], field["required"], field["default"]) == ("field", True, None)
    assert (number["type"], number["required"], number["default"]) == ("decimal|int|float", False, "decimal")
    assert (processor["state_version"], processor["key_format"], processor["value_format"]) == (
        1,
        "utf8",
        "json-decimal",
    )


@pytest.fixture
def visits(tmp_path: Path) -> str:
    """A plugin file with an option of each kind."""
    file = tmp_path / "visits.py"
    file.write_text(
        "from pydantic import BaseModel, ByteSize, Field, SecretStr\n"
        "from framework import Duration, Options, Processor\n"
        "class Window(BaseModel):\n"
        "    size: Duration = Field(Duration('5m'), ge=Duration('1s'), description='Length', examples=['1h'])\n"
        "class Visits(Processor):\n"
        "    api_version = 1\n"
        "    class Options(Options):\n"
        "        memory: ByteSize = Field(ByteSize(64_000_000), ge=1024)\n"
        "        password: SecretStr = SecretStr('hunter2')\n"
        "        window: Window = Window()\n"
        "    def process(self, record, state, out):\n"
        "        state[record.key] = 1\n"
    )
    return str(file)


def test_info_tells_types_defaults_ranges_and_examples(visits: str) -> None:
    lines = [re.split(r"\s{2,}", line.strip()) for line in invoke("info", visits).stdout.splitlines()]
    header = lines.index(["option", "type", "default", "help"])
    assert lines[header + 1 :] == [
        ["memory", "size, >= 1KiB", "64MB"],
        ["password", "secret", "hidden", "Examples: @file:PATH; @env:NAME"],
        ["window", "table"],
        ["window.size", "duration, >= 1s", "5m", "Length. Examples: 1h"],
    ]


def test_info_as_json_has_a_schema_without_secrets(visits: str) -> None:
    output = invoke("info", visits, "--json").stdout
    [processor] = json.loads(output)["processors"]
    memory, password, window, size = processor["options"]
    assert size == {
        "name": "window.size",
        "type": "duration",
        "required": False,
        "default": "5m",
        "range": ">= 1s",
        "examples": ["1h"],
        "help": "Length",
    }
    assert (memory["default"], password["default"], window["default"]) == (64_000_000, None, {"size": "5m"})
    schema = processor["schema"]
    assert schema["properties"]["memory"]["default"] == 64_000_000
    assert schema["$defs"]["Window"]["properties"]["size"]["type"] == "string"
    assert "default" not in schema["properties"]["password"]
    assert "hunter2" not in output


def test_info_of_a_file_without_options() -> None:
    output = invoke("info", EXAMPLE).stdout
    assert "Counts the visits of each page." in output
    assert "no options" in output


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A plugin file with a store and two observers."""
    (tmp_path / "watching.py").write_text(
        "from framework import hookimpl\n"
        "from framework.stores.memory import MemoryStore\n"
        "class Shelf(MemoryStore):\n"
        "    name = 'shelf'\n"
        "@hookimpl\ndef framework_stores():\n    return [Shelf]\n"
        "@hookimpl\ndef framework_gap(first, stop):\n    pass\n"
        "@hookimpl\ndef framework_assigned(plugin):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    return "watching.py"


def test_info_shows_stores_and_observers(watching: str) -> None:
    output = invoke("info", watching).stdout
    assert "store shelf; observer of framework_assigned, framework_gap" in output
    assert "\nstore shelf\n" in output
    assert "no options" in output
    described = json.loads(invoke("info", watching, "--json").stdout)
    assert described["observers"] == ["framework_assigned", "framework_gap"]
    [store] = described["stores"]
    assert (store["name"], store["options"], store["schema"]["properties"]) == ("shelf", [], {})


def test_list_shows_an_installed_observer(watching: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "dist_watch-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dist-watch\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[framework.plugins]\nwatch = watching\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "watching", raising=False)
    lines = {line.split()[0]: line for line in invoke("list").stdout.splitlines()}
    assert "observer of framework_assigned, framework_gap" in lines["watch"]
    found = {one["name"]: one for one in json.loads(invoke("list", "--json").stdout)}
    assert found["watch"]["observers"] == ["framework_assigned", "framework_gap"]
    assert found["keycount"]["observers"] == []


def test_an_unknown_plugin_is_an_error() -> None:
    with pytest.raises(PluginError, match="did you mean keycount"):
        invoke("info", "keycont")


@pytest.mark.parametrize("command", ["list", "info"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example:\n    framework plugins {command}" in invoke(command, "--help").stdout


def test_info_tells_which_framework_a_package_needs() -> None:
    assert re.search(r"^  needs +framework[<>=]\S+ *$", invoke("info", "keycount").stdout, re.MULTILINE)
    assert json.loads(invoke("info", "keycount", "--json").stdout)["needs"].startswith("framework")
    assert "needs" not in invoke("info", EXAMPLE).stdout
    assert json.loads(invoke("info", EXAMPLE, "--json").stdout)["needs"] is None
