"""Hooks of mkdocs: pages of the site that stand elsewhere in the repository, and links out of `docs/`.

Pages are written for those who read them in the repository. On the site, a link to a file that is no page there
becomes its text. A link to a file that does not exist is left as it is, so that a strict build fails.
"""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]

PAGES: Final = {
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks/method.md",
    "plugins/README.md": "packages/index.md",
    **{
        f"plugins/{name}/README.md": f"packages/{name}.md"
        for name in (path.parent.name for path in ROOT.glob("plugins/*/README.md"))
    },
}
"""Files outside `docs/` that are pages of the site, and where they are there."""

SHOWN: Final = {"framework/hookspecs.py": "reference/hooks.md"}
"""Files whose content a page of the site shows."""

_FENCED: Final = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[(?P<text>[^\[\]]+)\]\((?P<target>[^()#:\s]+)(?P<anchor>#[^()\s]*)?\)")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that stand outside `docs/`."""
    from mkdocs.structure.files import File

    for path, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Let the links of a page lead where they lead in the repository, as far as that is on the site."""
    if page.file.abs_src_path is None:  # it was generated for the site
        return markdown
    source = Path(page.file.abs_src_path).relative_to(ROOT)
    return with_links_of_the_site(markdown, source.as_posix(), page.file.src_uri)


def with_links_of_the_site(markdown: str, source: str, uri: str) -> str:
    """The text of a page, which is at `source` in the repository and at `uri` on the site, with links of the site."""

    def of_the_site(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["target"]))
        target = _uri_of(path)
        if target is not None:
            relative = posixpath.relpath(target, posixpath.dirname(uri) or ".")
            return f"[{link['text']}]({relative}{link['anchor'] or ''})"
        return link["text"] if (ROOT / path).exists() else link[0]

    parts = _FENCED.split(markdown)
    parts[::2] = (_LINK.sub(of_the_site, part) for part in parts[::2])
    return "".join(parts)


def _uri_of(path: str) -> str | None:
    """Where a file or folder of the repository is on the site; None if it is not there."""
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/") if (ROOT / path).exists() else None
    return PAGES.get(path) or SHOWN.get(path)
