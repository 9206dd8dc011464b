"""Discovery and loading of plugins.

A plugin is asked for by name (an entry point in the group `framework.plugins`), as `distribution:name` where two
distributions claim one name, or, while it is not packaged yet, as `path/to/file.py`, `path/to/file.py:Class` or
`package.module:Class`; see `framework.locate`.
Only what is asked for is imported: a broken stranger stops nobody, and start stays fast.
"""

import inspect
import pkgutil
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import ModuleType
from typing import Any, Final, TypeVar, cast

import pluggy

from framework import hookspecs
from framework._closest import closest_or_all
from framework.borders import describe, is_plugin_failure, shown
from framework.codecs import Codec
from framework.errors import PluginError, UsageError
from framework.formats import FORMATS, Format, Part
from framework.formats.json import JsonType, TypedJson
from framework.hookspecs import OBSERVERS
from framework.locate import Located, PluginOrigin, claims, import_located, installed, locate
from framework.observers import Observers
from framework.options import read_options
from framework.processor import API_VERSION, Options, Processor
from framework.stores import Store

__all__ = [
    "Found",
    "Plugin",
    "Plugins",
    "ProcessorSpec",
    "check_processor_class",
    "discover",
    "installed_processor",
    "load",
]

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
    formats: Mapping[str, type[Format]]
    observers: tuple[str, ...]
    """The hooks by which it is told what the runtime does."""

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
    """The plugins that a command loaded, with the built-in codecs, stores and formats."""

    def __init__(self, plugins: Sequence[Plugin], manager: pluggy.PluginManager) -> None:
        self.plugins = tuple(plugins)
        self.processors = tuple(spec for plugin in self.plugins for spec in plugin.processors)
        self.observers = Observers(manager)

    def codec(self, name: str) -> type[Codec]:
        """The codec class called `name`: of these plugins, built in, or else of any installed plugin.

        Raises `UsageError` where there is none, or where several installed plugins have one.
        """
        return cast(type[Codec], _chosen("codec", name, _CODECS, self.plugins))

    def store(self, name: str) -> type[Store]:
        """The store class called `name`, found and refused like a codec."""
        return cast(type[Store], _chosen("store", name, _STORES, self.plugins))

    def format_class(self, name: str) -> type[Format]:
        """The format class called `name`, found and refused like a codec."""
        return cast(type[Format], _chosen("format", name, FORMATS, self.plugins))

    def format(
        self, declared: Any, part: Part, *, options: Mapping[str, Any] | None = None, topic: str | None = None
    ) -> Format:
        """A new instance of the format that a name or a type declares. A name is found and refused like a codec's.

        `options`: values, or texts of them, by name. `topic`: that of the outputs that it encodes; None: it decodes.
        Raises `UsageError` for a format that is not there, a type that JSON cannot have, options that are unknown,
        missing or invalid, and options that the format cannot use. Raises `PluginError` if its constructor fails.
        """
        if not isinstance(declared, str):
            if options:
                raise UsageError(f"JSON of a type has no options, but was given {', '.join(options)}")
            return TypedJson(declared if isinstance(declared, JsonType) else JsonType(declared), part, topic)
        cls = self.format_class(declared)
        read = read_options(cls.Options, options or {}, f"the format {declared}")
        try:
            return cls(read, part, topic)
        except UsageError:
            raise
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            raise PluginError(f"the format {declared} could not be made: {describe(error)}") from error

    def open_store(self, location: str, options: Mapping[str, Any], *, read_only: bool = False) -> Store:
        """Open the store at `location`: the name of a store, or a location that begins with it, as in `sqlite:state`.

        `options`: values, or texts of them, by name. Raises `UsageError` for a store that is not there, for options
        that are unknown, missing or invalid, and for a location that the store cannot use.
        """
        cls = self.store(location.partition(":")[0])
        return cls.open(location, read_options(cls.Options, options, f"the store {cls.name}"), read_only=read_only)


def load(requests: Iterable[str]) -> Plugins:
    """Load the plugins that are asked for, in that order, and nothing else.

    Raises `PluginError` for one that is unknown, claimed by two distributions, cannot be imported, or breaks the
    contract of the hooks or of `Processor`.
    """
    return _load(locate(requests))


def discover() -> list[Found]:
    """Every installed plugin, ordered by name; each is loaded on its own, and a broken one is told with its reason."""
    found = installed()
    names = Counter(located.origin.name for located in found)
    return [_find(located, names[located.origin.name] > 1) for located in found]


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
    topics: Any = cls.output_formats
    if not isinstance(topics, Mapping) or not all(isinstance(topic, str) for topic in topics):
        raise PluginError(f"processor {_path(cls)}: output_formats must be a dict of formats by topic")
    for declared in (cls.key_format, cls.value_format, *cls.output_formats.values()):
        _check_format(cls, declared)


def _check_format(cls: type[Processor], declared: Any) -> None:
    """Whether a processor may declare this format. A plugin may bring the format, so its name is looked up later."""
    try:
        if not isinstance(declared, str | JsonType):
            JsonType(declared)
    except UsageError as error:
        raise PluginError(f"processor {_path(cls)}: a format is a name or a type: {error}") from error


def _find(located: Located, duplicate: bool) -> Found:
    origin = located.origin
    try:
        (plugin,) = _load([located]).plugins
    except PluginError as error:
        return Found(origin, None, str(error))
    reason = f"other distributions claim this name too; select it with {claims([origin])}" if duplicate else None
    return Found(origin, plugin, reason)


# What a plugin contributes.


def _load(located: Sequence[Located]) -> Plugins:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = [_load_one(manager, each) for each in located]
    for kind, names in (
        ("processor", [(spec.name, plugin.origin) for plugin in plugins for spec in plugin.processors]),
        ("codec", [(name, plugin.origin) for plugin in plugins for name in plugin.codecs]),
        ("store", [(name, plugin.origin) for plugin in plugins for name in plugin.stores]),
        ("format", [(name, plugin.origin) for plugin in plugins for name in plugin.formats]),
    ):
        _refuse_twins(kind, names)
    return Plugins(plugins, manager)


def _load_one(manager: pluggy.PluginManager, located: Located) -> Plugin:
    origin = located.origin
    _check_name("plugin", origin.name, origin)
    plugin = _register(manager, origin, import_located(located))
    processors = _contributed(manager, origin, plugin, "framework_processors", Processor)
    for cls in processors:
        check_processor_class(cls)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"plugin {origin}: {error}; the hooks are {', '.join(_HOOKS)}") from error
    codecs = _contributed(manager, origin, plugin, "framework_codecs", Codec)
    stores = _contributed(manager, origin, plugin, "framework_stores", Store)
    formats = _contributed(manager, origin, plugin, "framework_formats", Format)
    return Plugin(
        origin,
        tuple(ProcessorSpec(name, cls, origin.name) for name, cls in _named_processors(origin, processors)),
        _by_name("codec", origin, codecs, _CODECS),
        _by_name("store", origin, stores, _STORES),
        _by_name("format", origin, formats, FORMATS),
        tuple(name for name in OBSERVERS if _implements(manager, plugin, name)),
    )


def _implements(manager: pluggy.PluginManager, plugin: Any, hook: str) -> bool:
    return any(each.plugin is plugin for each in getattr(manager.hook, hook).get_hookimpls())


def installed_processor(name: str) -> type[Processor] | None:
    """The processor of this name of an installed plugin; None if there is none, or several."""
    found = [
        spec.cls
        for each in discover()
        if each.plugin is not None
        for spec in each.plugin.processors
        if spec.name == name
    ]
    return found[0] if len(found) == 1 else None


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
            f"plugin {origin} cannot be loaded twice: it is named twice, or another --plugin is the same module; "
            "name it once"
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
            f"plugin {origin} has several processors; name one of them: "
            f"{', '.join(f'{origin.place}:{cls.__name__}' for cls in own)}, "
            "or write the hook framework_processors, which returns those to run"
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


def _chosen(kind: str, name: str, built_in: Mapping[str, str], plugins: Iterable[Plugin]) -> Any:
    """The codec or store class of this name: of these plugins, built in, or of any installed plugin."""
    contributed = attrgetter(f"{kind}s")
    for plugin in plugins:
        if name in contributed(plugin):
            return contributed(plugin)[name]
    if name in built_in:
        return pkgutil.resolve_name(built_in[name])
    found = discover()
    able = [one for one in found if one.plugin and name in contributed(one.plugin)]
    if len(able) > 1:
        raise UsageError(
            f"several installed plugins have a {kind} named {name}: {', '.join(str(one.origin) for one in able)}; "
            "choose one with --plugin, or uninstall all but one"
        )
    if able:
        return contributed(able[0].plugin)[name]
    known = {*built_in, *(each for one in found if one.plugin for each in contributed(one.plugin))}
    broken = [one.origin.name for one in found if one.plugin is None]
    advice = f"; broken plugins may have it: {', '.join(broken)} (see: framework plugins list)" if broken else ""
    raise UsageError(f"no {kind} named {name!r}{closest_or_all(name, known)}{advice}")


def _overrides(cls: type[Processor], method: str) -> bool:
    return getattr(cls, method) is not getattr(Processor, method)


def _is_subclass(value: Any, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base)


def _path(cls: type) -> str:
    """The name of the class for a user; the module of a plugin file has a prefix that only framework knows."""
    return f"{re.sub('^_framework_plugin_[0-9a-f]+_', '', cls.__module__)}.{cls.__qualname__}"
