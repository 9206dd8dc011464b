"""The drawings of the documentation are those that the script in their folder draws."""

import runpy
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "docs" / "drawings"


def test_the_files_are_what_the_script_draws() -> None:
    drawn = runpy.run_path(str(FOLDER / "draw.py"))["drawings"]()
    assert {file.name: file.read_text() for file in FOLDER.glob("*.svg")} == drawn
    pages = "".join(page.read_text() for page in FOLDER.parent.glob("*.md"))
    assert all(f"(drawings/{name})" in pages for name in drawn)
