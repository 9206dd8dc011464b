"""What is public: `framework.__all__`, an `__all__` in every module, and a kept description of what authors import."""

import ast
import difflib
import importlib
import pkgutil
from pathlib import Path

import pytest

import framework
from tests.public_api import KEPT, describe, public_objects

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(framework.__path__, "framework.")
    if not name.rpartition(".")[2].startswith("_")
]


def test_all_is_importable() -> None:
    names = framework.__all__
    assert sorted(names) == sorted(set(names))
    assert [name for name in names if not hasattr(framework, name)] == []


def test_all_leaves_nothing_out() -> None:
    """What is imported for type checkers is what is there at run time."""
    tree = ast.parse(Path(framework.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {name.name for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert imported == set(framework.__all__)
    assert set(framework.__all__) <= set(dir(framework))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = framework.nothing


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_is_public(name: str) -> None:
    module = importlib.import_module(name)
    if not Path(str(module.__file__)).read_bytes():
        return  # a package that only holds modules
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


def test_the_public_api_is_as_described() -> None:
    kept, found = KEPT.read_text().splitlines(), describe().splitlines()
    lines = difflib.unified_diff(kept, found, "kept", "found", n=0, lineterm="")
    changes = "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
    assert not changes, (
        f"the public API differs from tests/{KEPT.name}:\n{changes}\nIf plugins of others should see this change, run "
        f"`python3 -m tests.public_api > tests/{KEPT.name}`, and tell of it in CHANGELOG.md. If not, undo it."
    )


def test_the_reference_has_a_text_for_every_public_name() -> None:
    assert [name for name, each in public_objects().items() if each.docstring is None] == []


SAMPLE = """
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sample.lazy import later

__all__ = ["LIMIT", "Child", "Pair", "later"]

LIMIT: int = 3

class Public:
    pass

class _Base:
    size: int = 1

    def inherited(self, one, /, *, two: str = "a") -> None: ...

    def _hidden(self): ...

class Child(_Base, Public):
    def __init__(self, place: str) -> None:
        self.place = place

    def __len__(self) -> int: ...

    @property
    def known(self) -> bool: ...

class Pair(NamedTuple):
    left: int
    right: int = 0

def unlisted(): ...
"""


def test_the_description_has_what_a_caller_may_rely_on(tmp_path: Path) -> None:
    package = tmp_path / "sample"
    package.mkdir()
    (package / "__init__.py").write_text(SAMPLE)
    (package / "lazy.py").write_text("async def later(when: float = 1.5) -> None: ...\n")
    (package / "hooks.py").write_text("def a_hook(plugin: str) -> None: ...\n")
    assert describe(["sample"], "sample.hooks", tmp_path).splitlines() == [
        "class sample.Child(place: str), of Public",
        "sample.Child.__len__() -> int",
        "sample.Child.inherited(one, /, *, two: str = 'a') -> None",
        "sample.Child.known: bool  [property]",
        "sample.Child.place",
        "sample.Child.size: int = 1",
        "sample.LIMIT: int = 3",
        "class sample.Pair(left: int, right: int = 0), of NamedTuple",
        "sample.Pair.left: int",
        "sample.Pair.right: int = 0",
        "sample.hooks.a_hook(plugin: str) -> None",
        "sample.later(when: float = 1.5) -> None  [async]",
    ]
