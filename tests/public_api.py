"""Describes the public API, a line for each name: `python3 -m tests.public_api > tests/public-api.txt`."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import griffe

__all__ = ["KEPT", "describe", "public_objects"]

ROOT: Final = Path(__file__).parents[1]
KEPT: Final = ROOT / "tests" / "public-api.txt"
"""The description that a test compares with the code."""

MODULES: Final = ("framework", "framework.windows", "framework.testing")
"""What plugin authors import from. The names in `__all__` are public."""

HOOKS: Final = "framework.hookspecs"

_KINDS: Final = ("abstractmethod", "async", "classmethod", "property", "staticmethod")
"""Labels of griffe that callers notice."""

_NOT_LISTED: Final = ("__init__", "__post_init__", "__repr__")
"""The parameters of the first stand beside the name of the class, and nobody relies on the others."""


def describe(modules: Sequence[str] = MODULES, hooks: str | None = HOOKS, folder: Path = ROOT) -> str:
    """The names of these modules and the hooks, with what a caller may rely on: signatures, annotations, defaults."""
    exported = public_objects(modules, hooks, folder)
    public = {each.path for each in exported.values()}
    return "".join(f"{line}\n" for name, each in sorted(exported.items()) for line in _lines(name, each, public))


def public_objects(
    modules: Sequence[str] = MODULES, hooks: str | None = HOOKS, folder: Path = ROOT
) -> Mapping[str, griffe.Object]:
    """What stands in `__all__` of these modules, and the hooks. Reads the sources in `folder`, and imports nothing."""
    package = modules[0].partition(".")[0]
    found = griffe.load(package, search_paths=[folder], resolve_aliases=True, allow_inspection=False).modules_collection
    exported = {f"{path}.{name}": _target(found[path][name]) for path in modules for name in _exports(found[path])}
    if hooks is not None:
        functions = found[hooks].functions.items()
        exported |= {f"{hooks}.{name}": hook for name, hook in functions if not name.startswith("_")}
    return exported


def _exports(module: griffe.Object | griffe.Alias) -> list[str]:
    return sorted(str(name) for name in module.exports or ())


def _target(found: griffe.Object | griffe.Alias) -> griffe.Object:
    return found.final_target if isinstance(found, griffe.Alias) else found


def _lines(name: str, described: griffe.Object, public: set[str]) -> Iterator[str]:
    """One name; a class with its public members, also those from bases that are not public themselves."""
    kinds = "".join(f"  [{kind}]" for kind in _KINDS if kind in described.labels)
    match described:
        case griffe.Class():
            bases = ", ".join(str(base) for base in described.bases if not str(base).startswith("_"))
            yield f"class {_with_parameters(name, described)}{bases and f', of {bases}'}"
            for member, each in sorted(_members(described, public).items()):
                yield from _lines(f"{name}.{member}", each, public)
        case griffe.Function():
            yield f"{described.signature(name=name)}{kinds}"
        case griffe.Attribute():
            yield f"{name}{_annotation_and_default(described)}{kinds}"
        case _:
            yield f"{name}: {described.kind.value}"


def _with_parameters(name: str, described: griffe.Class) -> str:
    """The name, and the parameters of the constructor if the class has one of its own."""
    if any(str(base) == "NamedTuple" for base in described.bases):
        fields = (field for field in described.attributes.values() if field.annotation is not None)
        return f"{name}({', '.join(f'{field.name}{_annotation_and_default(field)}' for field in fields)})"
    return described.signature(name=name) or name


def _annotation_and_default(described: griffe.Attribute) -> str:
    annotation = f": {described.annotation}" if described.annotation is not None else ""
    has_default = described.value is not None and described.labels & {"class-attribute", "module-attribute"}
    return f"{annotation} = {described.value}" if has_default else annotation


def _members(described: griffe.Class, public: set[str]) -> Mapping[str, griffe.Object]:
    found: dict[str, griffe.Object] = {}
    for base in reversed(described.resolved_bases):
        target = _target(base)
        if isinstance(target, griffe.Class) and target.path not in public:
            found |= _members(target, public)
    return found | {name: _target(each) for name, each in described.members.items() if _is_public(name, each)}


def _is_public(name: str, member: griffe.Object | griffe.Alias) -> bool:
    """Special methods are called by operators. Nobody calls the tests of a kit by their names."""
    if name.startswith("__") and name.endswith("__"):
        return member.is_function and name not in _NOT_LISTED
    return not name.startswith(("_", "test_"))


if __name__ == "__main__":
    sys.stdout.write(describe())
