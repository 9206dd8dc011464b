"""The layout: imports go one way, private names stay in their modules, and no class grows without bound."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import framework

ROOT = Path(framework.__file__).parent

LAYERS = (
    ("framework.__main__",),
    ("framework.cli",),
    ("framework.testing",),
    ("framework.runner", "framework.reader"),
    ("framework.embedded", "framework.shutdown"),
    ("framework.kafka",),
    ("framework.runtime",),
    ("framework.plugins",),
    ("framework.options", "framework.locate"),
    ("framework.observers",),
    ("framework.hookspecs",),
    ("framework.windows",),
    ("framework.processor", "framework.dead_letters"),
    ("framework.table", "framework.changes", "framework.policy"),
    ("framework.stores",),
    ("framework.numbers",),
    ("framework.output", "framework.state", "framework.fields", "framework.timers"),
    ("framework.codecs", "framework.formats"),
    ("framework.event_time",),
    ("framework.progress", "framework.records", "framework.keys", "framework.borders", "framework._closest"),
    ("framework.durations",),
    ("framework.errors",),
)
"""From the top down. A module imports what stands below it, or beside it in the same package."""

MOST_ATTRIBUTES = 15


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(("framework", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imports(tree: ast.AST, *, for_types: bool = False) -> Iterator[tuple[str, str | None]]:
    """What a module imports when it is imported: modules, and the names out of them; not what types alone need."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import(names):
                yield from ((each.name, None) for each in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from ((module, each.name) for each in names)
            case ast.If(test=ast.Name("TYPE_CHECKING"), orelse=otherwise):
                for each in otherwise:
                    yield from imports(ast.Module([each], []))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue
            case _:
                yield from imports(node)


def imported_modules(name: str) -> set[str]:
    """The modules of framework that it imports."""
    found = set()
    for module, member in imports(MODULES[name]):
        if f"{module}.{member}" in MODULES:
            found.add(f"{module}.{member}")
        elif module in MODULES:
            found.add(module)
    return found - {name}


def layer_of(name: str) -> int:
    for number, layer in enumerate(LAYERS):
        if any(f"{name}.".startswith(f"{package}.") for package in layer):
            return number
    raise AssertionError(f"{name} is in no layer; add it to LAYERS")


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"framework"}))
def test_imports_go_down(name):
    package = ".".join(name.split(".")[:2])
    upward = {
        other
        for other in imported_modules(name) - {"framework"}
        if layer_of(other) < layer_of(name)
        or (layer_of(other) == layer_of(name) and not f"{other}.".startswith(f"{package}.") and package in MODULES)
    }
    assert not upward


def test_there_is_no_circle_of_imports():
    graph = {name: imported_modules(name) for name in MODULES if name != "framework"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(error.args[1])) from None


def test_the_layers_are_found_to_matter():
    """The checks see imports at all, and tell up from down."""
    assert "framework.stores" in imported_modules("framework.runtime.saver")
    assert layer_of("framework.stores.sqlite") > layer_of("framework.runtime.saver")
    assert list(imports(ast.parse("if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c"))) == [
        ("b", None)
    ]


@pytest.mark.parametrize(
    ("package", "stranger"),
    [
        ("framework.stores", "framework.kafka"),
        ("framework.stores", "framework.codecs"),
        ("framework.kafka", "framework.stores"),
        ("framework.kafka", "framework.table"),
        ("framework.runtime", "framework.kafka"),
        ("framework.runtime", "aiokafka"),
        ("framework.testing.stores", "framework.runtime"),
    ],
)
def test_what_they_know_nothing_of(package, stranger):
    knowing = {
        name
        for name, tree in MODULES.items()
        if f"{name}.".startswith(f"{package}.")
        and any(f"{module}.".startswith(f"{stranger}.") for module, _ in imports(tree))
    }
    assert not knowing


def test_the_core_imports_no_plugin():
    plugins = {path.name for path in (ROOT.parent / "plugins").iterdir()}
    assert plugins
    for tree in MODULES.values():
        assert not {module.partition(".")[0] for module, _ in imports(tree)} & {f"framework_{name}" for name in plugins}


def private_uses(tree: ast.AST) -> Iterator[str]:
    """Private names of other modules, and private attributes of other objects, that a module uses."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    own |= {target.attr for target in ast.walk(tree) if isinstance(target, ast.Attribute) and _is_own(target)}
    own |= {
        each.target.id for each in ast.walk(tree) if isinstance(each, ast.AnnAssign) and type(each.target) is ast.Name
    }
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names):
                yield from (f"{module}.{each.name}" for each in names if _is_private(each.name))
            case ast.Attribute(attr=name) if _is_private(name) and not _is_own(node) and name not in own:
                yield f"{ast.unparse(node)} in line {node.lineno}"


def _is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


STRANGERS = {
    "framework.formats.recursion": "fastavro's reader in plain Python, which alone is safe for deep values",
    "framework.kafka.internals": "aiokafka's internals are used there, and nowhere else",
    "framework.runtime.watchdog": "sys._current_frames",
    "framework.shutdown": "os._exit",
    "framework.testing.brokers.traffic": "confluent-kafka's name for the end of a partition",
    "framework.testing.check": "sys._current_frames",
    "framework.testing.simulation.loop": "asyncio's own way to tell which loop runs",
}


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(STRANGERS)))
def test_private_names_stay_in_their_module(name):
    assert not list(private_uses(MODULES[name]))


def test_private_names_of_others_are_seen():
    assert list(private_uses(ast.parse("from a import _b\nx._c"))) == ["a._b", "x._c in line 2"]


def constructors() -> Iterator[tuple[str, int]]:
    """Every class, with how many attributes its constructor sets."""
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                        yield f"{name}.{node.name}", len(_attributes_set(method))


def _attributes_set(method: ast.FunctionDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node)
    }


def test_no_constructor_sets_too_many_attributes():
    assert {name: count for name, count in constructors() if count > MOST_ATTRIBUTES} == {}
    assert max(count for _, count in constructors()) > 5, "they are counted at all"


def test_every_module_of_the_runtime_has_a_test_of_its_name():
    tested = {path.stem.removeprefix("test_") for path in (ROOT.parent / "tests" / "runtime").glob("test_*.py")}
    modules = {path.stem for path in (ROOT / "runtime").glob("*.py")} - {"__init__"}
    assert modules - tested == {"definition", "limits"}, "those declare, and have nothing to test"


def test_the_layers_are_in_order():
    assert all(set(above).isdisjoint(below) for above, below in pairwise(LAYERS))
