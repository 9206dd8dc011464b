"""Finding and importing plugins: from the name that a user gives to the object that the name stands for."""

import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

from framework._closest import closest
from framework.borders import describe, is_plugin_failure
from framework.errors import PluginError

__all__ = ["GROUP", "SHIPPED", "Located", "PluginOrigin", "claims", "import_located", "installed", "locate"]

GROUP: Final = "framework.plugins"
"""The group of entry points that plugins declare; the entry's name is the plugin's name."""

SHIPPED: Final = (
    "absent",
    "aggregate",
    "dedupe",
    "distinct",
    "keycount",
    "latest",
    "postgresql",
    "quantiles",
    "schemaregistry",
    "sumbykey",
    "threshold",
    "topk",
    "window",
)
"""Plugins that framework's repository has in `plugins/`, as packages of their own."""
_FILE: Final = re.compile(r"(.+\.py)(?::(.*))?", re.DOTALL)
"""A Python file, with or without the name of something in it. The path may have colons, too."""


@dataclass(frozen=True, slots=True)
class PluginOrigin:
    """Where a plugin comes from."""

    name: str
    place: str
    """A module, `module:object`, a file's path or `path:object`."""
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})" if self.distribution else self.place


@dataclass(frozen=True, slots=True)
class Located:
    """A plugin that was found and is not imported yet."""

    origin: PluginOrigin
    importer: Callable[[], Any]
    """Imports it. May raise anything; see `import_located`."""


def locate(requests: Iterable[str]) -> list[Located]:
    """Find the plugin of each request: `NAME`, `DISTRIBUTION:NAME`, `FILE.py`, `FILE.py:CLASS` or `MODULE:CLASS`.

    Nothing is imported. Raises `PluginError` for a name that no installed plugin has, or several have.
    """
    import_file = functools.cache(_import_file)  # so that two classes of a file share its module
    return [_locate(request, import_file) for request in requests]


def installed() -> list[Located]:
    """Every installed plugin, ordered by name."""
    found = [Located(_origin(entry), entry.load) for entry in entry_points(group=GROUP)]
    return sorted(found, key=lambda located: (located.origin.name, str(located.origin)))


def claims(origins: Iterable[PluginOrigin]) -> str:
    """The requests that tell plugins of one name apart."""
    return ", ".join(sorted(f"{origin.distribution}:{origin.name}" for origin in origins))


def import_located(located: Located) -> Any:
    """The object that is the plugin. Raises `PluginError`, whatever the import raises."""
    try:
        return located.importer()
    except PluginError:
        raise
    except BaseException as error:
        if not is_plugin_failure(error):
            raise
        raise PluginError(f"plugin {located.origin} cannot be imported: {describe(error)}") from error


# Names


def _locate(request: str, import_file: Callable[[Path], ModuleType]) -> Located:
    if file := _FILE.fullmatch(request):
        path, name = Path(file[1]), file[2]
        if name == "":
            raise _not_a_name(request)
        if name is None:
            return Located(PluginOrigin(path.stem, request), partial(import_file, path))
        return Located(PluginOrigin(name.lower(), request), lambda: _member(import_file(path), name, request))
    if os.sep in request:
        raise PluginError(f"plugin file {request} is not a Python file; its name must end in .py")
    return _locate_installed(request) or _locate_object(request)


def _locate_installed(request: str) -> Located | None:
    distribution, colon, name = request.rpartition(":")
    matches = [
        entry
        for entry in entry_points(group=GROUP)
        if entry.name == name and (not colon or _normalized(_origin(entry).distribution) == _normalized(distribution))
    ]
    if len(matches) > 1:
        raise PluginError(
            f"plugin {request} is ambiguous: {claims(map(_origin, matches))}; name one of these, or uninstall all but "
            "one"
        )
    return Located(_origin(matches[0]), matches[0].load) if matches else None


def _locate_object(request: str) -> Located:
    module, colon, name = request.partition(":")
    if not colon:
        raise PluginError(_not_installed(request, entry_points(group=GROUP)))
    if not module or module.startswith(".") or not name or ":" in name:
        raise _not_a_name(request)
    return Located(PluginOrigin(name.lower(), request), lambda: _member(_import_module(module, request), name, request))


def _not_a_name(request: str) -> PluginError:
    return PluginError(
        f"plugin {request}: this is no name of a plugin; write NAME, DISTRIBUTION:NAME, path/to/file.py, "
        "path/to/file.py:Class or package.module:Class"
    )


def _not_installed(name: str, entries: EntryPoints) -> str:
    if name in SHIPPED:
        return (
            f"the plugin {name} is not installed: it is a package of its own, framework-{name}; "
            f"run pip install ./plugins/{name} in a clone of framework's repository"
        )
    if Path(f"{name}.py").is_file():
        return f"no plugin named {name!r} is installed; to run the file, write {name}.py"
    known = {*entries.names, *SHIPPED}
    return f"no plugin named {name!r} is installed{closest(name, known)}; see all with: framework plugins list"


def _origin(entry: EntryPoint) -> PluginOrigin:
    if entry.dist is None:
        return PluginOrigin(entry.name, entry.value)
    return PluginOrigin(entry.name, entry.value, entry.dist.name, entry.dist.version)


def _normalized(distribution: str | None) -> str:
    """A distribution's name as package tools compare it."""
    return re.sub(r"[-_.]+", "-", distribution or "").lower()


# Imports


class _FileLoader(importlib.machinery.SourceFileLoader):
    """Compiles a file as it is now, and keeps no bytecode.

    Python's own loader takes cached bytecode where the file still has the size and the time, in whole seconds, that it
    had then. So it misses a quick edit.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _import_file(path: Path) -> ModuleType:
    if path.is_dir():
        raise PluginError(f"plugin file {path} is a directory; name the file in it")
    if not path.is_file():
        raise PluginError(f"plugin file {path} is not there; check the path")
    if path.suffix != ".py":
        raise PluginError(f"plugin file {path} is not a Python file; its name must end in .py")
    path = path.resolve()
    # A name of its own, so that two files of one name do not meet in sys.modules.
    name = f"_framework_plugin_{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}_{path.stem}"
    loader = _FileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise PluginError(f"plugin file {path} cannot be imported from there; move it")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(name: str, request: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that a file lying about here hides no installed package
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise PluginError(
            f"plugin {request}: no installed distribution {name} has such a plugin, and there is no module {name}; "
            "see all that is installed with: framework plugins list"
        ) from error


def _member(module: ModuleType, path: str, request: str) -> Any:
    """The object that a module has under a name, which may have dots. Raises `PluginError` where it has none."""
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            classes = [known for known, value in vars(module).items() if _is_class_of(module, value)]
            hint = closest(path, classes) or f"; its classes are: {', '.join(classes) or 'none'}"
            raise PluginError(f"plugin {request}: there is no {path} in it{hint}")
        found = getattr(found, name)
    return found


def _is_class_of(module: ModuleType, value: Any) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__
