"""A hook of mkdocs: each page as Markdown beside its HTML, where `llms.txt` links to it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page


def on_post_page(output: str, page: "Page", config: "MkDocsConfig") -> str:
    """Write the Markdown of a page that was built."""
    file = Path(config.site_dir) / page.file.src_uri
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page.markdown or "", encoding="utf-8")
    return output
