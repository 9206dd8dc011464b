"""`framework new`: makes the package of a new plugin from a template, and updates one that was made so."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import click

from framework.cli.options import Command, framework_option, log_options
from framework.errors import UsageError
from framework.formats import FORMATS
from framework.locate import GROUP, SHIPPED

__all__ = ["new"]

TEMPLATES: Final = ("count", "table", "window", "format", "store")
_SOURCE: Final = Path(__file__).parents[1] / "templates"
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PREFIX: Final = "framework-"
_ANSWERS: Final = ".copier-answers.yml"
_RESERVED: Final = frozenset({*FORMATS, "sqlite", "file", "memory"})
"""Names of built-in formats and stores."""


@click.command(cls=Command)
@click.argument("name", required=False)
@framework_option(
    "--template", type=click.Choice(TEMPLATES), help="What the plugin is to be. The default is count, or is asked for."
)
@framework_option("--description", metavar="TEXT", help="What the plugin does, in one sentence.")
@framework_option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the package. The default is framework-NAME.",
)
@framework_option("--yes", is_flag=True, help="Ask nothing, and take the defaults.")
@framework_option(
    "--update",
    is_flag=True,
    help="Instead of a new package: bring the package in --directory (. by default) up to the present template. Code, "
    "tests, examples and texts stay as they are.",
)
@log_options
def new(
    name: str | None,
    template: str | None,
    description: str | None,
    directory: Path | None,
    yes: bool,
    update: bool,
) -> None:
    """Make the package of a new plugin NAME: code, tests, an example and the settings of CI.

    \b
    Templates:
      count   a processor that counts by key
      table   a processor that keeps a value of each key
      window  a processor that counts by key in windows of event time
      format  a format of keys and values
      store   a store of state

    \b
    Example:
      framework new rolling-median --template table
      cd framework-rolling-median && pip install -e '.[test]' && pytest
    """
    if update:
        if name is not None:
            raise UsageError(f"--update takes no NAME, but got {name}; name the package with --directory")
        _update(directory or Path())
        return
    if name is None:
        raise UsageError("name the plugin: framework new NAME")
    name = _checked_name(name.removeprefix(_PREFIX))
    target = directory or Path(f"{_PREFIX}{name}")
    _check_empty(target)
    given = {"name": name, "template": template, "description": description}
    answers = {question: answer for question, answer in given.items() if answer is not None}
    _render(target, answers, defaults=yes or not sys.stdin.isatty())
    click.echo(f"made {target}; go on with:\n  cd {target}\n  pip install -e '.[test]'\n  pytest")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for a plugin; write lower-case letters and digits, with dashes between words, "
            "such as rolling-median"
        )
    owners = [entry.dist.name for entry in entry_points(group=GROUP) if entry.name == name and entry.dist]
    if owners or name in SHIPPED:
        raise UsageError(f"there is a plugin {name} already, of {(owners or [_PREFIX + name])[0]}; choose another name")
    if name in _RESERVED:
        raise UsageError(f"{name} is the name of a built-in format or store; choose another name")
    return name


def _check_empty(target: Path) -> None:
    if target.is_dir() and any(target.iterdir()):
        raise UsageError(f"the directory {target} is not empty; name another --directory, or use --update")


def _update(target: Path) -> None:
    answers = _read_answers(target / _ANSWERS)
    git = shutil.which("git")
    if git is None:
        raise UsageError("there is no git on the PATH; without it, an update could not be undone")
    command = [git, "status", "--porcelain", "--", "."]
    status = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False)
    if status.returncode != 0:
        raise UsageError(f"{target} is in no git repository: {status.stderr.strip()}; an update could not be undone")
    if status.stdout:
        raise UsageError(f"{target} has changes that are not committed; commit them first, so that you can compare")
    _render(target, answers, defaults=True, overwrite=True)
    click.echo(f"updated {target}; look at the changes with: git diff")


def _read_answers(file: Path) -> dict[str, Any]:
    """The answers that a package was made with. The file is YAML of a simple kind: `name: text`, or JSON strings."""
    if not file.is_file():
        raise UsageError(f"there is no {file}; --update needs a package that framework new has made")
    answers = {}
    for line in file.read_text().splitlines():
        question, colon, text = line.partition(": ")
        if colon and not line.startswith("#"):
            answers[question] = json.loads(text) if text.startswith('"') else text
    if answers.keys() != {"name", "template", "description"}:
        raise UsageError(f"{file} must have name, template and description; restore it from git")
    return answers


def _render(target: Path, answers: dict[str, Any], *, defaults: bool, overwrite: bool = False) -> None:
    try:
        import copier
    except ImportError as error:
        raise UsageError(f'framework new needs copier ({error}); run: pip install "framework[new]"') from error
    copier.run_copy(str(_SOURCE), target, data=answers, defaults=defaults, overwrite=overwrite, quiet=True)
