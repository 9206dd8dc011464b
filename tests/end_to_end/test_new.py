"""The packages of `framework new`, as they are made: installed, tested, type-checked, and run as their README says.

The tutorial is followed in the same way.
"""

import re
from pathlib import Path

import pytest

from framework.cli.new import TEMPLATES
from tests.end_to_end.packages import Environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "venv")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_package_works_as_it_is(template: str, environment: Environment, tmp_path: Path) -> None:
    environment.run(f"framework new of-mine --template {template} --yes", tmp_path)
    package = tmp_path / "framework-of-mine"
    environment.install("--editable", package)

    assert re.search(r"\b[1-9]\d* passed", environment.run("pytest -q", package))
    assert "no issues found" in environment.run("mypy", package)
    readme = (package / "README.md").read_text()
    ((example, shown),) = re.findall(r"^\$ (framework run .*)\n((?:.*\n)*?)```", readme, re.MULTILINE)
    assert environment.run(example, package) == shown
    assert shown.count("\n") > 1
    listed = environment.run("framework plugins list", package)
    assert re.search(r"^of-mine +framework-of-mine +0\.1\.0 .* ok *$", listed, re.MULTILINE)


def test_the_tutorial_can_be_followed(environment: Environment, tmp_path: Path) -> None:
    here, followed = tmp_path, []
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL):
        if language == "python":
            file = re.match(r"# (\S+)\n", text)
            assert file
            assert (here / file[1]).is_file(), "the package has it, and it is replaced"
            (here / file[1]).write_text(text.removeprefix(file[0]))
            continue
        for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", text, re.MULTILINE):
            followed.append(command.split()[0])
            if command.startswith("cd "):
                here = here / command.removeprefix("cd ")
            elif command.startswith("pip install "):
                if here != tmp_path:  # framework itself is installed
                    environment.install("--editable", here)
            else:
                printed = environment.run(command, here)
                assert shown in ("", printed), command
    assert followed == ["pip", "framework", "cd", "pip", *["framework"] * 3, "pytest", "mypy", "pip"]
    assert [wheel.name for wheel in (here / "dist").iterdir()] == ["framework_rolling_median-0.1.0-py3-none-any.whl"]
