"""What is public: `framework.__all__`, and an `__all__` in every module."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import framework

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
