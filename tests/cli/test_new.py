"""`framework new`: names, places, and updates. tests/end_to_end/test_new.py installs and tests what it makes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from framework.cli.new import TEMPLATES, new
from framework.errors import UsageError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "test")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test@example.org")


def invoke(*args: str) -> Result:
    return CliRunner().invoke(new, args, catch_exceptions=False)


def git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd="framework-median", capture_output=True, text=True, check=True).stdout


@pytest.fixture
def committed() -> Callable[[], None]:
    def commit() -> None:
        git("init", "--quiet")
        git("add", ".")
        git("commit", "--quiet", "--message", "Begin")

    return commit


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_package_is_made(template: str) -> None:
    result = invoke("rolling-median", "--template", template, "--description", 'Says "hello": a\\b', "--yes")
    assert result.exit_code == 0
    assert "cd framework-rolling-median" in result.stdout
    made = {str(path.relative_to("framework-rolling-median")) for path in Path().rglob("*") if path.is_file()}
    assert {
        ".copier-answers.yml",
        ".github/workflows/ci.yml",
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "framework_rolling_median/__init__.py",
        "framework_rolling_median/py.typed",
        "pyproject.toml",
        "tests/test_rolling_median.py",
    } <= made
    assert not [name for name in made if "jinja" in name or "{" in name]
    for name in made:
        text = Path("framework-rolling-median", name).read_text()
        assert "{{" not in text.replace("${{ matrix.python }}", "")
        assert text == "" or text.endswith("\n")
        assert not text.endswith("\n\n")


def test_the_prefix_may_be_written() -> None:
    invoke("framework-median", "--yes")
    assert Path("framework-median", "framework_median").is_dir()


def test_another_directory_may_be_named_if_it_is_empty() -> None:
    Path("mine").mkdir()
    invoke("median", "--yes", "--directory", "mine")
    assert Path("mine", "pyproject.toml").is_file()


@pytest.mark.parametrize("name", ["Median", "1st", "a_b", "a--b", "-a", "a-", "a b", "ümlaut", "../up", ""])
def test_a_name_that_is_no_package_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a name for a plugin; write lower-case letters"):
        invoke("--yes", "--", name)
    assert [*Path().iterdir()] == []


@pytest.mark.parametrize(
    ("name", "told"),
    [("keycount", "already, of framework-keycount"), ("json", "built-in format or store"), ("sqlite", "built-in")],
)
def test_a_name_that_is_taken_is_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        invoke(name, "--yes")


def test_a_directory_that_is_not_empty_is_refused_and_left_alone() -> None:
    Path("framework-median").mkdir()
    Path("framework-median", "notes").write_text("mine")
    with pytest.raises(UsageError, match="the directory framework-median is not empty"):
        invoke("median", "--yes")
    assert [path.name for path in Path("framework-median").iterdir()] == ["notes"]
    Path("file").touch()
    assert invoke("median", "--yes", "--directory", "file").exit_code == 2


def test_a_name_is_needed() -> None:
    with pytest.raises(UsageError, match="framework new NAME"):
        invoke("--yes")


def test_without_copier_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "copier", None)
    with pytest.raises(UsageError, match=r'run: pip install "framework\[new\]"'):
        invoke("median", "--yes")


def test_no_network_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert invoke("median", "--yes").exit_code == 0


def test_an_update_brings_the_template_and_leaves_the_code_alone(committed: Callable[[], None]) -> None:
    invoke("median", "--yes", "--description", 'Keeps "medians"')
    made = Path("framework-median")
    rendered = (made / "pyproject.toml").read_text()
    assert json.dumps('Keeps "medians"') in rendered
    (made / "pyproject.toml").write_text("older")
    for changed in ("framework_median/__init__.py", "tests/test_median.py", "README.md", "CHANGELOG.md"):
        (made / changed).write_text("mine")
    committed()
    result = invoke("--update", "--directory", "framework-median")
    assert "git diff" in result.stdout
    assert (made / "pyproject.toml").read_text() == rendered
    assert git("diff", "--name-only").split() == ["pyproject.toml"]


def test_an_update_without_changes_changes_nothing(committed: Callable[[], None]) -> None:
    invoke("median", "--template", "format", "--yes")
    committed()
    invoke("--update", "--directory", "framework-median")
    assert git("status", "--porcelain") == ""


def test_an_update_that_could_not_be_undone_is_refused(committed: Callable[[], None]) -> None:
    with pytest.raises(UsageError, match=r"there is no \.copier-answers\.yml"):
        invoke("--update")
    invoke("median", "--yes")
    with pytest.raises(UsageError, match="is in no git repository"):
        invoke("--update", "--directory", "framework-median")
    committed()
    Path("framework-median", "README.md").write_text("mine")
    with pytest.raises(UsageError, match="has changes that are not committed"):
        invoke("--update", "--directory", "framework-median")
    git("commit", "--all", "--quiet", "--message", "Mine")
    Path("framework-median", ".copier-answers.yml").write_text("name: median\n")
    with pytest.raises(UsageError, match="must have name, template and description"):
        invoke("--update", "--directory", "framework-median")
    with pytest.raises(UsageError, match="--update takes no NAME, but got median"):
        invoke("median", "--update")
