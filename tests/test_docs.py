"""Every snippet of the documentation does what its page says."""

import json
import os
import re
import runpy
import sqlite3
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import pytest

from framework.embedded.broker import EmbeddedBroker
from framework.testing import check_processor, run_processor

ROOT: Final = Path(__file__).parents[1]
RUN_ELSEWHERE: Final = {
    "docs/tutorial.md": "tests/end_to_end/test_new.py follows it from its beginning to its end",
    "plugins/postgresql/README.md": "the tests of that plugin run it beside a server",
}
"""Pages whose snippets other tests run."""

PAGES: Final = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/README.md", "examples/**/*.md", "benchmarks/README.md")
    for page in ROOT.glob(pattern)
    if str(page.relative_to(ROOT)) not in RUN_ELSEWHERE
)
LANGUAGES: Final = {"console", "python", "toml", "text"}
SECONDS: Final = 60.0

Defined = Callable[[str], dict[str, Any]]

NOT_RUN: Final = {
    "python3 dev.py": "it sets up .venv and runs these very tests, or benchmarks that take an hour",
    "pip install": "it needs the package registry; dev.py has installed the plugins",
}
"""Commands that no test runs, by how they begin, each with the reason."""

FILES: Final = {"plugins/keycount/README.md": ["names.tsv"], "plugins/sumbykey/README.md": ["orders.ndjson"]}
"""The files whose content a page shows, in this order."""

INSTALLED: Final = "packages"
"""Where packages are installed, in the folder of a page's commands."""

PRODUCE: Final = "framework produce --bootstrap-servers localhost:9092"
BEFORE: Final = {
    "README.md": [f"printf 'ann\\t1\\nbob\\t2\\n' | {PRODUCE} - --topic orders"],
    "docs/index.md": [f"printf 'ann\\t1\\n' | {PRODUCE} - --topic orders"],
    "docs/failing-records.md": [
        """printf '{"shop": "a", "amount": 1}\\n{"shop": "a", "amount": "?"}\\n' > orders.ndjson""",
        f"{PRODUCE} orders.ndjson --topic orders --key shop",
        f"{PRODUCE} /dev/null --topic orders-bad",
    ],
    "docs/out-of-range.md": [
        f"printf 'ann\\t1\\n' | {PRODUCE} - --topic orders",
        "framework run --plugin keycount --topic orders --bootstrap-servers localhost:9092 --group orders.aside-1"
        " --stop-at-end",
    ],
    "docs/plugins.md": [f"printf 'ann\\t1\\n' | {PRODUCE} - --topic orders"],
    "docs/topic-pattern.md": [f"printf 'ann\\t1\\n' | {PRODUCE} - --topic orders.eu"],
}
"""What a page takes for granted before its first command."""


class Block(NamedTuple):
    """What stands between fences."""

    page: str
    language: str
    text: str

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands of a console block, each with the output that is shown below it."""
        found: list[tuple[str, str]] = []
        for part in re.split(r"^\$ ", self.text.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
        return found

    @property
    def name(self) -> str:
        """A Python block's file, or the first class or function that it defines."""
        named = re.match(r"# (\S+\.py)$", self.text, re.MULTILINE) or re.search(r"(?:class|def) (\w+)", self.text)
        assert named, self.text
        return named[1]


def blocks_of(page: str, *languages: str) -> list[Block]:
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [Block(page, language, text) for language, text in fences if language in languages or not languages]


def of_all_pages(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page, *languages)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language_and_commands_are_in_console_blocks(page: str) -> None:
    for block in blocks_of(page):
        assert block.language in LANGUAGES, block
        assert block.language == "console" or not re.search(r"^\$ ", block.text, re.MULTILINE), block


# Commands


class Terminal:
    """Runs commands of a page one after the other, in one folder, as a shell does."""

    def __init__(self, folder: Path, servers: str, programs: Path = Path(sys.executable).parent) -> None:
        """`programs`: the folder of the virtual environment's programs."""
        self._folder = folder
        self._servers = servers
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        self._environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder / INSTALLED)}

    def run(self, commands: Iterable[tuple[str, str]]) -> None:
        """Run each command to its end, and compare its output with what is shown, if anything is.

        A `framework run` that has no end goes on beside the commands after it.
        """
        with ExitStack() as workers:
            for command, shown in commands:
                command = command.replace("localhost:9092", self._servers)
                if command.startswith("export "):
                    name, _, value = command.removeprefix("export ").partition("=")
                    self._environment[name] = value
                elif command.startswith("framework run ") and "--stop-at-end" not in command:
                    workers.enter_context(self._worker(command))
                elif not command.startswith(tuple(NOT_RUN)):
                    done = self._done(command)
                    assert done.returncode == 0, (command, done.stderr)
                    assert shown in ("", done.stdout), (command, done.stdout)

    def _done(self, command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    @contextmanager
    def _worker(self, command: str) -> Iterator[None]:
        """A worker, from when it has partitions and something is stored on; it is asked to stop at the end."""
        with tempfile.NamedTemporaryFile("w+") as log:
            worker = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self._folder, env=self._environment, stderr=log
            )
            try:
                deadline = time.monotonic() + SECONDS
                while "assigned: " not in _written(log) or not self._something_is_stored():
                    assert (worker.poll(), time.monotonic() < deadline) == (None, True), _written(log)
                yield
                worker.terminate()
                assert worker.wait(SECONDS) == 0, _written(log)
            finally:
                worker.kill()
                worker.wait()

    def _something_is_stored(self) -> bool:
        listed = self._done("framework state list --json")
        return listed.returncode == 0 and any(unit["last_offset"] >= 0 for unit in json.loads(listed.stdout))


def _written(log: IO[str]) -> str:
    return Path(log.name).read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the examples, as in a clone."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def write_files(page: str, folder: Path) -> None:
    """The files that a page shows."""
    for block in blocks_of(page, "python"):
        (folder / block.name).write_text(block.text)
    for name, block in zip(FILES.get(page, []), blocks_of(page, "text"), strict=False):
        (folder / name).write_text(block.text)


@pytest.mark.parametrize("page", sorted({block.page for block in of_all_pages("console")}))
def test_the_commands_of_a_page_run_and_print_what_it_shows(page: str, folder: Path) -> None:
    write_files(page, folder)
    if page == "docs/plugins.md":
        install_what_is_shared(folder)
    with EmbeddedBroker() as broker:
        terminal = Terminal(folder, broker.bootstrap_servers)
        terminal.run((command, "") for command in BEFORE.get(page, []))
        for block in blocks_of(page, "console"):
            terminal.run(block.commands)


def test_what_is_not_run_is_there() -> None:
    commands = [command for block in of_all_pages("console") for command, _ in block.commands]
    for beginning in NOT_RUN:
        assert any(command.startswith(beginning) for command in commands), beginning


# Python and TOML

PLUGINS: Final = "docs/plugins.md"


def install_what_is_shared(folder: Path) -> None:
    """The package that `docs/plugins.md` makes of its first plugin, as pip would install it."""
    blocks = {block.name: block.text for block in blocks_of(PLUGINS, "python")}
    [project] = [tomllib.loads(block.text)["project"] for block in blocks_of(PLUGINS, "toml")]
    [(group, points)] = project["entry-points"].items()
    [module] = points.values()
    metadata = folder / INSTALLED / f"{module}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (folder / INSTALLED / f"{module}.py").write_text(blocks["delays.py"] + blocks["framework_processors"])
    (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))


def test_every_python_block_is_run() -> None:
    commands = " ".join(command for block in of_all_pages("console") for command, _ in block.commands)
    tried = {"titles.py", "test_counts", "Visits", "framework_processors", "framework_hex.py", "test_hex.py"}
    tried |= {"absent.py", "test_absent.py", "page_views.py", "test_page_views.py"}
    tried |= {"seen_once.py", "test_seen_once.py", "big_orders.py", "count_once.py", "test_once.py"}
    tried |= {"totals.py"}
    """By the tests below, by `install_what_is_shared`, and by tests/test_reader.py."""
    for block in of_all_pages("python"):
        assert block.name in tried or f"--plugin {block.name} " in commands, block
    assert [block.page for block in of_all_pages("toml")] == [PLUGINS]


@pytest.fixture
def defined_by(tmp_path: Path) -> Defined:
    """What the Python block of a name on `docs/plugins.md` defines, when it is run."""

    def run(name: str) -> dict[str, Any]:
        [text] = [block.text for block in blocks_of(PLUGINS, "python") if block.name == name]
        file = tmp_path / "block.py"
        file.write_text(text)
        return runpy.run_path(str(file))

    return run


def test_the_processor_that_opens_a_database_counts_by_what_it_finds_there(
    defined_by: Defined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "pages.db")) as pages:
        pages.executescript("create table pages (path, title); insert into pages values ('/', 'Home'), ('/x', 'X')")
    monkeypatch.chdir(tmp_path)
    processor = defined_by("titles.py")["Titles"]
    assert run_processor(processor, [("/", b""), ("/x", b""), ("/", b"")]).state == {"Home": 2, "X": 1}
    check_processor(processor, [("/", b""), ("/x", b""), ("/gone", b"")])


def test_the_tests_that_are_shown_pass(defined_by: Defined) -> None:
    tests = {name: value for name, value in defined_by("test_counts").items() if name.startswith("test_")}
    assert list(tests) == ["test_counts", "test_keeps_the_contract"]
    for test in tests.values():
        test()


@pytest.mark.parametrize(
    ("page", "tests"),
    [
        ("docs/formats.md", "test_hex.py"),
        ("docs/outputs.md", "test_once.py"),
        ("docs/time.md", "test_absent.py"),
        ("docs/time.md", "test_page_views.py"),
        ("docs/time.md", "test_seen_once.py"),
    ],
)
def test_the_code_that_is_shown_passes_the_tests_that_are_shown(page: str, tests: str, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_the_migration_gives_what_the_newer_plugin_would_have_counted(defined_by: Defined) -> None:
    processor = defined_by("Visits")["Visits"]
    records = [("/", b""), ("/x", b""), ("/", b"")]
    state = {"/": 2, "/x": 1}
    processor.migrate(state, 1)
    assert state == run_processor(processor, records).state
    check_processor(processor, records)
