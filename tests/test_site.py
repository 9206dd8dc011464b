"""The documentation as a site: its links lead where they lead in the repository, and `llms.txt` has its pages."""

import re
import runpy
from pathlib import Path
from typing import Any, Final

import pytest

from framework.cli import main

ROOT: Final = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "elsewhere.py"))


@pytest.mark.parametrize(
    ("source", "uri", "link", "shown"),
    [
        ("docs/plugins.md", "plugins.md", "[a](time.md#windows)", "[a](time.md#windows)"),
        ("docs/plugins.md", "plugins.md", "[a](../plugins/window)", "[a](packages/window.md)"),
        ("docs/plugins.md", "plugins.md", "[a](../examples/ten_lines.py)", "a"),
        ("docs/plugins.md", "plugins.md", "[a](../framework/hookspecs.py)", "[a](reference/hooks.md)"),
        ("docs/plugins.md", "plugins.md", "[a](https://kafka.apache.org/x)", "[a](https://kafka.apache.org/x)"),
        ("docs/plugins.md", "plugins.md", "[a](#tests)", "[a](#tests)"),
        ("docs/plugins.md", "plugins.md", "```text\n[a](../examples)\n```", "```text\n[a](../examples)\n```"),
        ("plugins/window/README.md", "packages/window.md", "[a](../../docs/time.md#x)", "[a](../time.md#x)"),
        ("plugins/window/README.md", "packages/window.md", "[a](../sumbykey/README.md)", "[a](sumbykey.md)"),
        ("CHANGELOG.md", "changelog.md", "[a\nb](docs/time.md)", "[a\nb](time.md)"),
        ("docs/design/speed.md", "design/speed.md", "![a](../drawings/idle.svg)", "![a](../drawings/idle.svg)"),
    ],
)
def test_a_link_leads_to_the_page_or_becomes_its_text(
    elsewhere: dict[str, Any], source: str, uri: str, link: str, shown: str
) -> None:
    assert elsewhere["with_links_of_the_site"](f"x\n{link}\ny", source, uri) == f"x\n{shown}\ny"


@pytest.mark.parametrize("link", ["[a](../gone.md)", "[a](gone.md)", "[a](../plugins/gone)"])
def test_a_link_to_nothing_stays_so_that_the_build_refuses_it(elsewhere: dict[str, Any], link: str) -> None:
    assert elsewhere["with_links_of_the_site"](link, "docs/plugins.md", "plugins.md") == link


def test_the_page_of_the_command_line_has_every_command_and_option() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "command_line.py"))["page"]()
    assert all(f"\n## framework {name}\n" in page for name in main.commands)
    assert "\n## framework state show\n" in page
    assert "\n| `--event-time record|FIELD` | " in page
    assert "\n```text\nUsage: framework run [OPTIONS]\n```\n" in page


LINK: Final = re.compile(r"^- \[[^]]+\]\(([^)]+)\)", re.MULTILINE)
PAGE: Final = re.compile(r"^ +- [^:\n]+: (\S+\.md)$", re.MULTILINE)


def test_llms_txt_has_every_page_of_the_site_once(elsewhere: dict[str, Any]) -> None:
    links = LINK.findall((ROOT / "docs" / "llms.txt").read_text())
    pages = PAGE.findall((ROOT / "mkdocs.yml").read_text())
    assert sorted(re.sub("/$", ".md", link) for link in links) == sorted(pages)
    made = {*elsewhere["PAGES"].values(), runpy.run_path(str(ROOT / "docs" / "command_line.py"))["PAGE"]}
    assert [page for page in pages if page not in made and not (ROOT / "docs" / page).is_file()] == []


def test_llms_txt_links_to_html_where_the_markdown_has_no_text() -> None:
    for link in LINK.findall((ROOT / "docs" / "llms.txt").read_text()):
        source = ROOT / "docs" / re.sub("/$", ".md", link)
        assert link.endswith("/") == (source.is_file() and "\n::: " in source.read_text()), link


def test_llms_txt_begins_with_a_title_and_a_summary() -> None:
    assert re.match(r"# framework\n\n> \S.*\n\n", (ROOT / "docs" / "llms.txt").read_text())
