"""Discovery and loading of plugins.

A plugin is asked for by name (an entry point in the group `framework.plugins`), as `distribution:name` where two
distributions claim one name, or, while it is not packaged yet, as `path/to/file.py` or `package.module:Class`.
Only what is asked for is imported: a broken stranger stops nobody, and start stays fast.
"""

import hashlib
import importlib.machinery
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final, TypeVar

import pluggy
from pydantic import ValidationError

from framework import hookspecs
from framework._closest import closest
from framework.borders import describe, is_plugin_failure, shown
from framework.codecs import Codec
from framework.errors import PluginError, UsageError
from framework.formats import FORMATS
from framework.observers import Observers
from framework.processor import API_VERSION, Options, Processor
from framework.stores import Store, StoreOptions

__all__ = [
    "GROUP",
    "Found",
    "Plugin",
    "PluginOrigin",
    "Plugins",
    "ProcessorSpec",
    "check_processor_class",
    "discover",
    "load",
]

GROUP: Final = "framework.plugins"
"""The group of entry points that plugins declare; the entry's name is the plugin's name."""

T = TypeVar("T")

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_HOOKS: Final = tuple(name for name in vars(hookspecs) if name.startswith("framework_"))
_CODECS: Final = {"json": "framework.codecs.json:JsonCodec", "msgpack": "framework.codecs.msgpack:MsgpackCodec"}
_STORES: Final = {
    "sqlite": "framework.stores.sqlite:SqliteStore",
    "file": "framework.stores.file:FileStore",
    "memory": "framework.stores.memory:MemoryStore",
}


@dataclass(frozen=True, slots=True)
class PluginOrigin:
    """Where a plugin comes from."""

    name: str
    place: str
    """A module, `module:object` or a file's path."""
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})" if self.distribution else self.place


@dataclass(frozen=True, slots=True)
class ProcessorSpec:
    """A processor that a plugin contributes, under the name of its state."""

    name: str
    cls: type[Processor]
    plugin: str


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plugin, checked, with what it contributes."""

    origin: PluginOrigin
    processors: tuple[ProcessorSpec, ...]
    codecs: Mapping[str, type[Codec]]
    stores: Mapping[str, type[Store]]

    @property
    def name(self) -> str:
        return self.origin.name


@dataclass(frozen=True, slots=True)
class Found:
    """An installed plugin as `discover` found it."""

    origin: PluginOrigin
    plugin: Plugin | None
    """None where it cannot be loaded."""
    reason: str | None
    """Why it cannot be loaded, or not by its name alone."""

    @property
    def status(self) -> str:
        """`ok`, `broken`, or `duplicate`: only `distribution:name` selects it."""
        if self.plugin is None:
            return "broken"
        return "duplicate" if self.reason else "ok"


class Plugins:
    """The plugins that a command loaded, with the built-in codecs and stores."""

    def __init__(self, plugins: Sequence[Plugin], manager: pluggy.PluginManager) -> None:
        self.plugins = tuple(plugins)
        self.processors = tuple(spec for plugin in self.plugins for spec in plugin.processors)
        self.observers = Observers(manager)

    def codec(self, name: str) -> type[Codec]:
        """The codec class called `name`. Raises `UsageError` if there is none."""
        return _chosen("codec", name, _CODECS, [plugin.codecs for plugin in self.plugins])

    def store(self, name: str) -> type[Store]:
        """The store class called `name`. Raises `UsageError` if there is none."""
        return _chosen("store", name, _STORES, [plugin.stores for plugin in self.plugins])

    def open_store(self, location: str, options: Mapping[str, Any], *, read_only: bool = False) -> Store:
        """Open the store at `location`: the name of a store, or a location that begins with it, as in `sqlite:state`.

        `options`: values, or texts of them, by name. Raises `UsageError` for a store that is not there, for options
        that are unknown, missing or invalid, and for a location that the store cannot use.
        """
        cls = self.store(location.partition(":")[0])
        return cls.open(location, _store_options(cls, options), read_only=read_only)


def load(requests: Iterable[str]) -> Plugins:
    """Load the plugins that are asked for, in that order, and nothing else.

    Raises `PluginError` for one that is unknown, claimed by two distributions, cannot be imported, or breaks the
    contract of the hooks or of `Processor`.
    """
    return _load([_locate(request) for request in requests])


def discover() -> list[Found]:
    """Every installed plugin, ordered by name; each is loaded on its own, and a broken one is told with its reason."""
    entries = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, str(_origin(entry))))
    claims = Counter(entry.name for entry in entries)
    return [_find(entry, claims[entry.name] > 1) for entry in entries]


def check_processor_class(cls: type[Processor]) -> None:
    """Check that `cls` keeps the contract of `Processor`; its `api_version` comes before all else.

    Raises `PluginError`.
    """
    version = getattr(cls, "api_version", None)
    if version is None:
        raise PluginError(f"processor {_path(cls)} does not say which API it needs; add: api_version = {API_VERSION}")
    if type(version) is not int or not 1 <= version <= API_VERSION:
        raise PluginError(
            f"processor {_path(cls)} needs API version {shown(version)}, but this framework offers {API_VERSION}; "
            "install versions of the two that fit"
        )
    if not (_overrides(cls, "process") or _overrides(cls, "process_batch")):
        raise PluginError(f"processor {_path(cls)} has neither process nor process_batch; write one")
    if inspect.iscoroutinefunction(cls.process_batch):
        raise PluginError(f"processor {_path(cls)}: process_batch cannot be async; write async def process instead")
    if not _is_subclass(cls.Options, Options):
        raise PluginError(f"processor {_path(cls)}: Options must be a subclass of framework.Options")
    if type(cls.state_version) is not int or cls.state_version < 1:
        raise PluginError(f"processor {_path(cls)}: state_version must be a whole number from 1")
    for declared in (cls.key_format, cls.value_format):
        if declared not in tuple(FORMATS):  # it may be anything, also what cannot be hashed
            raise PluginError(
                f"processor {_path(cls)}: there is no format {shown(declared)}; choose of {', '.join(FORMATS)}"
            )


# Where a plugin is.

_Located = tuple[PluginOrigin, Callable[[], Any]]


def _locate(request: str) -> _Located:
    """What `request` means, and the function that imports it."""
    if request.endswith(".py") or os.sep in request:
        path = Path(request)
        return PluginOrigin(path.stem, request), partial(_import_file, path)
    distribution, colon, name = request.rpartition(":")
    installed = entry_points(group=GROUP)
    matches = [
        entry
        for entry in installed
        if entry.name == name and (not colon or _normalized(_origin(entry).distribution) == _normalized(distribution))
    ]
    match matches:
        case [entry]:
            return _origin(entry), entry.load
        case [_, *_]:
            raise PluginError(
                f"plugin {request} is ambiguous: {_claims(matches)}; name one of these, or uninstall all but one"
            )
    if colon:
        return PluginOrigin(name.lower(), request), partial(_import_object, request)
    raise PluginError(
        f"no plugin named {request!r} is installed{closest(request, installed.names)}; "
        "see all with: framework plugins list"
    )


def _origin(entry: EntryPoint) -> PluginOrigin:
    if entry.dist is None:
        return PluginOrigin(entry.name, entry.value)
    return PluginOrigin(entry.name, entry.value, entry.dist.name, entry.dist.version)


def _claims(entries: Iterable[EntryPoint]) -> str:
    return ", ".join(sorted(f"{_origin(entry).distribution}:{entry.name}" for entry in entries))


def _normalized(distribution: str | None) -> str:
    """A distribution's name as package tools compare it."""
    return re.sub(r"[-_.]+", "-", distribution or "").lower()


def _find(entry: EntryPoint, duplicate: bool) -> Found:
    origin = _origin(entry)
    try:
        (plugin,) = _load([(origin, entry.load)]).plugins
    except PluginError as error:
        return Found(origin, None, str(error))
    reason = f"other distributions claim this name too; select it with {_claims([entry])}" if duplicate else None
    return Found(origin, plugin, reason)


# Importing.


def _import(origin: PluginOrigin, importer: Callable[[], Any]) -> Any:
    try:
        return importer()
    except PluginError:
        raise
    except BaseException as error:
        if not is_plugin_failure(error):
            raise
        raise PluginError(f"plugin {origin} cannot be imported: {describe(error)}") from error


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


def _import_object(request: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that a file lying about here hides no installed package
    module = request.partition(":")[0]
    try:
        return pkgutil.resolve_name(request)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise PluginError(
            f"plugin {request}: there is no such entry in a distribution {module}, and no module {module} to import; "
            "see all that is installed with: framework plugins list"
        ) from error


# What a plugin contributes.


def _load(located: Sequence[_Located]) -> Plugins:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = [_load_one(manager, origin, importer) for origin, importer in located]
    for kind, names in (
        ("processor", [(spec.name, plugin.origin) for plugin in plugins for spec in plugin.processors]),
        ("codec", [(name, plugin.origin) for plugin in plugins for name in plugin.codecs]),
        ("store", [(name, plugin.origin) for plugin in plugins for name in plugin.stores]),
    ):
        _refuse_twins(kind, names)
    return Plugins(plugins, manager)


def _load_one(manager: pluggy.PluginManager, origin: PluginOrigin, importer: Callable[[], Any]) -> Plugin:
    _check_name("plugin", origin.name, origin)
    plugin = _register(manager, origin, _import(origin, importer))
    processors = _contributed(manager, origin, plugin, "framework_processors", Processor)
    for cls in processors:
        check_processor_class(cls)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"plugin {origin}: {error}; the hooks are {', '.join(_HOOKS)}") from error
    codecs = _contributed(manager, origin, plugin, "framework_codecs", Codec)
    stores = _contributed(manager, origin, plugin, "framework_stores", Store)
    return Plugin(
        origin,
        tuple(ProcessorSpec(name, cls, origin.name) for name, cls in _named_processors(origin, processors)),
        _by_name("codec", origin, codecs, _CODECS),
        _by_name("store", origin, stores, _STORES),
    )


class _OneProcessor:
    """A processor class on its own, as a plugin."""

    def __init__(self, processor: type[Processor]) -> None:
        self._processor = processor

    @hookspecs.hookimpl
    def framework_processors(self) -> Sequence[type[Processor]]:
        return [self._processor]


def _register(manager: pluggy.PluginManager, origin: PluginOrigin, candidate: Any) -> Any:
    """Register `candidate`: an object with hooks, or else the one processor class that it is or holds."""
    hooked = any(manager.parse_hookimpl_opts(candidate, name) for name in dir(candidate))
    bare = [name for name in _HOOKS if hasattr(candidate, name) and not manager.parse_hookimpl_opts(candidate, name)]
    if bare:
        raise PluginError(f"plugin {origin}: {bare[0]} is not marked as a hook; decorate it with @framework.hookimpl")
    awaited = [name for name in _HOOKS if inspect.iscoroutinefunction(getattr(candidate, name, None))]
    if awaited:
        raise PluginError(f"plugin {origin}: {awaited[0]} cannot be async, as nobody awaits it; write def")
    plugin = candidate if hooked else _OneProcessor(_sole_processor(origin, candidate))
    try:
        manager.register(plugin, str(origin))
    except pluggy.PluginValidationError as error:
        raise PluginError(f"plugin {origin}: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise PluginError(
            f"plugin {origin} is asked for twice, or shares its module with another; name it once"
        ) from error
    return plugin


def _sole_processor(origin: PluginOrigin, candidate: Any) -> type[Processor]:
    if isinstance(candidate, type) and issubclass(candidate, Processor):
        return candidate
    if not isinstance(candidate, ModuleType):
        raise PluginError(f"plugin {origin} is neither a subclass of framework.Processor nor an object with hooks")
    own: list[type[Processor]] = [value for value in vars(candidate).values() if _is_own_processor(value, candidate)]
    if not own:
        raise PluginError(f"plugin {origin} has neither hooks nor a subclass of framework.Processor; write one")
    if len(own) > 1:
        raise PluginError(
            f"plugin {origin} has several processors: {', '.join(cls.__name__ for cls in own)}; "
            "write the hook framework_processors, which tells those to run"
        )
    return own[0]


def _is_own_processor(value: Any, module: ModuleType) -> bool:
    return _is_subclass(value, Processor) and bool(value.__module__ == module.__name__)


def _contributed(manager: pluggy.PluginManager, origin: PluginOrigin, plugin: Any, hook: str, base: type) -> list[Any]:
    """The classes that the hook gives, for this plugin alone."""
    caller = manager.subset_hook_caller(hook, manager.get_plugins() - {plugin})
    try:
        results = caller()
    except BaseException as error:
        if not is_plugin_failure(error):
            raise
        raise PluginError(f"plugin {origin}: {hook} failed: {describe(error)}") from error
    for result in results:
        if not isinstance(result, list | tuple) or not all(_is_subclass(cls, base) for cls in result):
            raise PluginError(
                f"plugin {origin}: {hook} must return a list of {base.__name__} classes, not {shown(result)}"
            )
    classes = [cls for result in results for cls in result]
    for cls in classes:
        if inspect.isabstract(cls):
            missing = ", ".join(sorted(cls.__abstractmethods__))
            raise PluginError(f"plugin {origin}: {_path(cls)} must be complete; it lacks {missing}")
    return classes


def _named_processors(origin: PluginOrigin, classes: Sequence[type[Processor]]) -> list[tuple[str, type[Processor]]]:
    default = origin.name if len(classes) == 1 else ""
    named = [(cls.name or default, cls) for cls in classes]
    for name, cls in named:
        if not name:
            raise PluginError(f"plugin {origin} has several processors, but {_path(cls)} has no name; add: name = …")
        _check_name("processor", name, origin)
    return named


def _by_name(
    kind: str, origin: PluginOrigin, classes: Sequence[type[T]], built_in: Mapping[str, str]
) -> dict[str, type[T]]:
    names = [getattr(cls, "name", None) for cls in classes]
    for name in names:
        _check_name(kind, name, origin)
        if name in built_in:
            raise PluginError(f"plugin {origin}: the {kind} {name} is built in; choose another name")
    _refuse_twins(kind, [(name, origin) for name in names])
    return dict(zip(map(str, names), classes, strict=True))


def _check_name(kind: str, name: object, origin: PluginOrigin) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(
            f"plugin {origin}: {shown(name)} cannot name a {kind}; use letters, digits, '.', '_' and '-', "
            "and no '.' at the start"
        )


def _refuse_twins(kind: str, names: Sequence[tuple[Any, PluginOrigin]]) -> None:
    seen: dict[Any, PluginOrigin] = {}
    for name, origin in names:
        if name in seen:
            raise PluginError(
                f"two {kind}s are named {name}: one of plugin {seen[name]}, one of plugin {origin}; "
                "name the plugin once, or give them different names"
            )
        seen[name] = origin


def _chosen(kind: str, name: str, built_in: Mapping[str, str], contributed: Iterable[Mapping[str, type[T]]]) -> type[T]:
    classes = {known: cls for more in contributed for known, cls in more.items()}
    if name in classes:
        return classes[name]
    if name in built_in:
        chosen: type[T] = pkgutil.resolve_name(built_in[name])
        return chosen
    names = sorted({*built_in, *classes})
    raise UsageError(f"no {kind} named {name!r}{closest(name, names)}; there are: {', '.join(names)}")


def _store_options(cls: type[Store], given: Mapping[str, Any]) -> StoreOptions:
    """The options of a store as it declares them. Messages never hold the values, which may be secrets."""
    known = cls.Options.model_fields
    allowed = f"options of the store {cls.name}: {', '.join(known) or 'none'}"
    for name in given:
        if name not in known:
            raise UsageError(f"unknown option {name}{closest(name, known)}\n{allowed}")
    try:
        return cls.Options.model_validate(given)
    except ValidationError as error:
        wrong = [": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in error.errors()]
        raise UsageError(f"the options of the store {cls.name} cannot be used: {'; '.join(wrong)}\n{allowed}") from None


def _overrides(cls: type[Processor], method: str) -> bool:
    return getattr(cls, method) is not getattr(Processor, method)


def _is_subclass(value: Any, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base)


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
