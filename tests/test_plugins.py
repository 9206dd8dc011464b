import asyncio
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import EntryPoints
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from framework import API_VERSION, Options, PluginError, Processor, TopicPartition, UsageError, hookspecs
from framework.codecs.json import JsonCodec
from framework.locate import SHIPPED
from framework.plugins import check_processor_class, discover, load
from framework.stores.sqlite import SqliteStore

ROOT = Path(__file__).parents[1]

HEAD = """
from framework import Codec, Processor, hookimpl
"""
COUNT = """
class Count(Processor):
    api_version = 1
    def process(self, record, state, out):
        pass
"""
HOOK = """
@hookimpl
def framework_processors():
    return [Count]
"""


class Site:
    """A directory of installed distributions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def module(self, name: str, body: str, head: str = HEAD) -> None:
        (self.path / f"{name}.py").write_text(head + dedent(body))

    def distribution(self, name: str, **entries: str) -> None:
        info = self.path / f"{name.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        lines = ["[framework.plugins]", *(f"{entry} = {target}" for entry, target in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines))

    def plugin(self, name: str, body: str) -> None:
        """A distribution with one plugin."""
        self.module(f"mod_{name}", body)
        self.distribution(f"dist-{name}", **{name: f"mod_{name}"})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def refused(*requests: str) -> str:
    with pytest.raises(PluginError) as caught:
        load(requests)
    return str(caught.value)


# Finding


def test_an_entry_point_is_loaded_with_its_distribution(site: Site) -> None:
    site.plugin("tally", COUNT + HOOK)
    (plugin,) = load(["tally"]).plugins
    assert (plugin.name, plugin.origin.distribution, plugin.origin.version) == ("tally", "dist-tally", "1.5")
    assert [(spec.name, spec.cls.__name__, spec.plugin) for spec in plugin.processors] == [("tally", "Count", "tally")]


def test_only_what_is_asked_for_is_imported(site: Site) -> None:
    site.plugin("tally", COUNT + HOOK)
    site.plugin("broken", "raise RuntimeError('imported')")
    load(["tally"])
    assert "mod_broken" not in sys.modules


def test_plugins_keep_the_order_of_the_requests(site: Site) -> None:
    site.plugin("one", COUNT + HOOK)
    site.plugin("two", COUNT + HOOK)
    assert [spec.name for spec in load(["two", "one"]).processors] == ["two", "one"]


def test_an_unknown_plugin_is_told_with_the_closest(site: Site) -> None:
    site.plugin("tally", COUNT + HOOK)
    message = refused("taly")
    assert "did you mean tally?" in message
    assert "framework plugins list" in message


@pytest.fixture
def twins(site: Site) -> Site:
    site.plugin("tally", COUNT + HOOK)
    site.module("other_tally", COUNT + HOOK)
    site.distribution("Other.Tally", tally="other_tally")
    return site


@pytest.mark.usefixtures("twins")
def test_a_name_that_two_distributions_claim_is_refused_with_both() -> None:
    message = refused("tally")
    assert "Other.Tally:tally" in message
    assert "dist-tally:tally" in message


@pytest.mark.usefixtures("twins")
@pytest.mark.parametrize("request_", ["Other.Tally:tally", "other-tally:tally"])
def test_a_distribution_selects_one_of_two(request_: str) -> None:
    (plugin,) = load([request_]).plugins
    assert (plugin.name, plugin.origin.distribution) == ("tally", "Other.Tally")


@pytest.mark.usefixtures("twins")
def test_two_processors_of_one_name_are_refused() -> None:
    message = refused("dist-tally:tally", "Other.Tally:tally")
    assert "two processors are named tally" in message
    assert "dist-tally" in message
    assert "Other.Tally" in message


def test_a_plugin_asked_for_twice_is_refused(site: Site) -> None:
    site.plugin("tally", COUNT + HOOK)
    assert "tally" in refused("tally", "tally")


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("import no_such_module", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("def", SyntaxError),
        ("raise SystemExit(3)", SystemExit),
        ("import asyncio; raise asyncio.CancelledError", asyncio.CancelledError),
        ("raise GeneratorExit", GeneratorExit),
        ("raise MemoryError", MemoryError),
    ],
)
def test_a_failing_import_names_plugin_distribution_and_error(
    site: Site, body: str, cause: type[BaseException]
) -> None:
    site.plugin("broken", body)
    with pytest.raises(
        PluginError, match=rf"broken \(dist-broken 1.5\) cannot be imported: {cause.__name__}"
    ) as caught:
        load(["broken"])
    assert isinstance(caught.value.__cause__, cause)


def test_a_missing_attribute_of_an_entry_point_is_a_failing_import(site: Site) -> None:
    site.module("here", COUNT)
    site.distribution("dist-x", x="here:Gone")
    assert "AttributeError" in refused("x")


# Files


def test_a_file_with_one_processor_is_a_plugin_of_its_name() -> None:
    (spec,) = load([str(ROOT / "examples" / "ten_lines.py")]).processors
    assert spec.name == "ten_lines"
    assert sys.modules[spec.cls.__module__].__dict__[spec.cls.__name__] is spec.cls


def test_a_relative_file_name_needs_no_directory(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.module("mine", COUNT)
    monkeypatch.chdir(site.path)
    assert [spec.name for spec in load(["mine.py"]).processors] == ["mine"]


def test_a_file_may_have_hooks(site: Site) -> None:
    site.module("mine", COUNT + "class More(Count):\n    pass\n" + HOOK)
    (spec,) = load([str(site.path / "mine.py")]).processors
    assert spec.cls.__name__ == "Count"


def test_files_of_one_name_do_not_meet(site: Site) -> None:
    for directory in ("a", "b"):
        (site.path / directory).mkdir()
        (site.path / directory / "same.py").write_text(HEAD + COUNT.replace("api", f"name = '{directory}'\n    api"))
    first, second = load([str(site.path / "a" / "same.py"), str(site.path / "b" / "same.py")]).processors
    assert (first.name, second.name) == ("a", "b")
    assert first.cls.__module__ != second.cls.__module__


def test_a_file_with_several_processors_must_choose(site: Site) -> None:
    site.module("mine", COUNT + "class More(Count):\n    pass\n")
    path = site.path / "mine.py"
    assert f"name one of them: {path}:Count, {path}:More, or write the hook" in refused(str(path))
    assert [spec.cls.__name__ for spec in load([f"{path}:More"]).processors] == ["More"]


def test_a_class_in_a_file_is_a_plugin_of_its_name_in_lower_case(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.module("mine", COUNT + "class More(Count):\n    class Inner(Count):\n        pass\n")
    monkeypatch.chdir(site.path)
    plugins = load(["mine.py:Count", "mine.py:More", "mine.py:More.Inner"])
    assert [spec.name for spec in plugins.processors] == ["count", "more", "more.inner"]
    assert [str(plugin.origin) for plugin in plugins.plugins][:2] == ["mine.py:Count", "mine.py:More"]
    count, more, _ = plugins.processors
    assert issubclass(more.cls, count.cls), "the file is imported once"


@pytest.mark.parametrize("folder", ["C:", "a:b", "dist:c.py", "x.py"])
def test_a_path_may_have_colons(site: Site, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.path / folder).mkdir()
    (site.path / folder / "mine.py").write_text(HEAD + COUNT)
    monkeypatch.chdir(site.path)
    for request in (f"{folder}/mine.py", f"{folder}/mine.py:Count", f"{site.path / folder / 'mine.py'}:Count"):
        assert [spec.cls.__name__ for spec in load([request]).processors] == ["Count"]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("mine.py:Cuont", "plugin mine.py:Cuont: there is no Cuont in it (did you mean Count?)"),
        ("mine.py:Visits", "there is no Visits in it; its classes are: Count, Other"),
        ("mine.py:", "plugin mine.py:: this is no name of a plugin; write NAME"),
        (":Count", "plugin :Count: this is no name of a plugin"),
        ("..:Count", "plugin ..:Count: this is no name of a plugin"),
        ("json:", "plugin json:: this is no name of a plugin"),
        ("a:b:Count", "plugin a:b:Count: this is no name of a plugin"),
        ("mine.py:Count.Inner", "there is no Count.Inner in it"),
        ("mine.py:Other", "neither a subclass of framework.Processor nor an object with hooks"),
        ("gone.py:Count", "plugin file gone.py is not there"),
        ("folder.py", "plugin file folder.py is a directory; name the file in it"),
        ("mine:Cuont", "plugin mine:Cuont: there is no Cuont in it (did you mean Count?)"),
        ("mine", "no plugin named 'mine' is installed; to run the file, write mine.py"),
    ],
)
def test_a_class_that_is_not_in_the_file_is_told_with_the_closest(
    site: Site, monkeypatch: pytest.MonkeyPatch, request_: str, reason: str
) -> None:
    site.module("mine", COUNT + "class Other:\n    pass\n")
    (site.path / "folder.py").mkdir()
    monkeypatch.chdir(site.path)
    assert reason in refused(request_)


def test_a_shipped_plugin_that_is_not_installed_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framework.locate.entry_points", lambda group: EntryPoints())
    assert "framework-keycount; run pip install ./plugins/keycount in a clone" in refused("keycount")
    assert "did you mean keycount" in refused("keycont")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("x = 1", "neither hooks nor a subclass of framework.Processor"),
        ("from framework import NoSuchThing", "ImportError"),
        (COUNT + "def framework_processors():\n    return [Count]", "not marked as a hook"),
    ],
)
def test_a_file_that_is_no_plugin_is_refused(site: Site, body: str, reason: str) -> None:
    site.module("mine", body)
    before = set(sys.modules)
    assert reason in refused(str(site.path / "mine.py"))
    if "ImportError" in reason:
        assert set(sys.modules) == before


@pytest.mark.parametrize(("name", "reason"), [("gone.py", "not there"), ("text.txt", "must end in .py")])
def test_a_file_that_cannot_be_one_is_refused(site: Site, name: str, reason: str) -> None:
    (site.path / "text.txt").write_text("")
    assert reason in refused(str(site.path / name))


def test_a_file_whose_name_cannot_name_a_plugin_is_refused(site: Site) -> None:
    (site.path / "my plugin.py").write_text(HEAD + COUNT)
    assert "'my plugin' cannot name a plugin" in refused(str(site.path / "my plugin.py"))


def keep_time_and_size(path: Path, body: str) -> None:
    """Rewrite a file so that neither its time nor its size tells of it."""
    before = path.stat()
    path.write_text(body)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)


def test_a_file_is_what_it_is_now_whatever_its_time_and_size(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.path / "mine.py"
    versions = []
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for version in (1, 2):
        body = HEAD + COUNT + f"    state_version = {version}\n"
        keep_time_and_size(path, body) if path.exists() else path.write_text(body)
        (spec,) = load([str(path)]).processors
        versions.append(spec.cls.state_version)
    assert versions == [1, 2]


def test_a_file_leaves_no_bytecode_and_takes_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    site.module("mine", COUNT)
    load([str(site.path / "mine.py")])
    assert not (site.path / "__pycache__").exists()
    __import__("mine")  # Python's own import caches it
    assert (site.path / "__pycache__").exists()
    keep_time_and_size(site.path / "mine.py", (HEAD + COUNT).replace("Count", "Other"))
    (spec,) = load([str(site.path / "mine.py")]).processors
    assert spec.cls.__name__ == "Other"


def test_tracebacks_and_inspect_show_the_source_of_a_file(site: Site) -> None:
    site.module("mine", COUNT.replace("pass", "raise KeyError('from the plugin')"))
    (spec,) = load([str(site.path / "mine.py")]).processors
    assert "raise KeyError('from the plugin')" in inspect.getsource(spec.cls.process)
    with pytest.raises(KeyError) as caught:
        spec.cls.process(None, None, None, None)  # type: ignore[arg-type]
    told = "".join(traceback.format_exception(caught.value))
    assert f'File "{site.path / "mine.py"}", line 7, in process' in told
    assert "raise KeyError('from the plugin')" in told


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def broken(:\n", "SyntaxError: invalid syntax (mine.py, line 3)"),
        ("x = '\0'", "cannot be imported: "),
        ("raise SystemExit('no')", "SystemExit: no"),
        ("import asyncio\nraise asyncio.CancelledError", "CancelledError"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import no_such_module", "No module named 'no_such_module'"),
        (
            "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E",
            "E: (its text cannot be shown: ValueError)",
        ),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_error(site: Site, body: str, reason: str) -> None:
    site.module("mine", body)
    before = set(sys.modules)
    message = refused(str(site.path / "mine.py"))
    assert message.startswith(f"plugin {site.path / 'mine.py'} cannot be imported: ")
    assert reason in message
    assert not {name for name in set(sys.modules) - before if name.startswith("_framework_plugin_")}


def test_an_interrupt_during_an_import_is_raised_on(site: Site) -> None:
    site.module("mine", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load([str(site.path / "mine.py")])


# module:Class


def test_a_class_is_a_plugin_of_its_name_in_lower_case(site: Site) -> None:
    site.module("bare", COUNT)
    assert [spec.name for spec in load(["bare:Count"]).processors] == ["count"]


def test_a_class_in_the_working_directory_is_found(
    site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("work")
    (here / "lying_here.py").write_text(HEAD + COUNT)
    monkeypatch.chdir(here)
    assert [spec.name for spec in load(["lying_here:Count"]).processors] == ["count"]


def test_two_classes_of_one_module_are_two_plugins(site: Site) -> None:
    site.module("bare", COUNT + "class More(Count):\n    pass\n")
    assert [spec.name for spec in load(["bare:Count", "bare:More"]).processors] == ["count", "more"]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("nowhere.at_all:Count", "no module nowhere.at_all"),
        ("bare:Gone", "there is no Gone in it; its classes are: Count"),
        ("bare:number", "neither a subclass of framework.Processor nor an object with hooks"),
        ("needy:Count", "No module named 'no_such_module'"),
    ],
)
def test_a_class_that_cannot_be_had_is_refused(site: Site, request_: str, reason: str) -> None:
    site.module("bare", COUNT + "number = 1\n")
    site.module("needy", "import no_such_module")
    assert reason in refused(request_)


# Hooks


@pytest.mark.parametrize(
    ("hooks", "reason"),
    [
        ("@hookimpl\ndef framework_procesors():\n    return [Count]", "framework_procesors"),
        ("@hookimpl\ndef framework_processors(nonsense):\n    return [Count]", "nonsense"),
        ("@hookimpl\ndef framework_processors():\n    return Count", "must return a list of Processor classes"),
        ("@hookimpl\ndef framework_processors():\n    return [Count, 1]", "must return a list of Processor classes"),
        ("@hookimpl\ndef framework_processors():\n    return [Codec]", "must return a list of Processor classes"),
        ("@hookimpl\ndef framework_processors():\n    1 / 0", "framework_processors failed: ZeroDivisionError"),
        ("@hookimpl\ndef framework_processors():\n    raise SystemExit(0)", "framework_processors failed: SystemExit"),
        ("@hookimpl\ndef framework_processors():\n    return [10**5000]", "not <list that cannot be shown"),
        ("@hookimpl\nasync def framework_processors():\n    return [Count]", "framework_processors cannot be async"),
        (HOOK + "@hookimpl\nasync def framework_assigned():\n    pass", "framework_assigned cannot be async"),
        ("@hookimpl\ndef framework_codecs():\n    return [Count]", "must return a list of Codec classes"),
        ("@hookimpl\ndef framework_stores():\n    return 'sqlite'", "must return a list of Store classes"),
    ],
)
def test_a_bad_hook_is_refused(site: Site, hooks: str, reason: str) -> None:
    site.plugin("bad", COUNT + hooks)
    message = refused("bad")
    assert reason in message
    assert "bad (dist-bad 1.5)" in message


def test_observers_of_all_plugins_are_called(site: Site) -> None:
    observer = "seen = []\n@hookimpl\ndef framework_assigned(plugin, epoch):\n    seen.append((plugin, epoch))\n"
    site.plugin("one", COUNT + HOOK + observer)
    site.plugin("two", observer)
    plugins = load(["one", "two"])
    plugins.observers.assigned(plugin="one", partition=TopicPartition("t", 0), last_offset=1, epoch=7)
    assert [sys.modules[f"mod_{name}"].seen for name in ("one", "two")] == [[("one", 7)], [("one", 7)]]
    assert len(plugins.processors) == 1
    assert [plugin.observers for plugin in plugins.plugins] == [("framework_assigned",)] * 2


def test_all_hooks_that_contribute_nothing_are_observers() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("framework_")}
    contributing = {name for name in hooks if inspect.get_annotations(getattr(hookspecs, name))["return"] is not None}
    assert set(hookspecs.OBSERVERS) == hooks - contributing


# Processors


def make(**attributes: Any) -> type[Processor]:
    return type("Made", (Processor,), {"api_version": 1, "process": lambda self, record, state, out: None} | attributes)


def test_a_processor_that_keeps_the_contract_passes() -> None:
    check_processor_class(make())
    check_processor_class(make(process=Processor.process, process_batch=lambda self, batch, state, out: None))


async def process_async(self: Any, *args: Any) -> None:
    return None


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"api_version": None}, "api_version = 1"),
        ({"api_version": API_VERSION + 1}, "needs API version 2, but this framework offers 1"),
        ({"api_version": 0}, "needs API version 0"),
        ({"api_version": True}, "needs API version True"),
        ({"api_version": "1"}, "needs API version '1'"),
        ({"process": Processor.process}, "neither process nor process_batch"),
        ({"process_batch": process_async}, "process_batch cannot be async"),
        ({"Options": dict}, "subclass of framework.Options"),
        ({"Options": Options()}, "subclass of framework.Options"),
        ({"state_version": 0}, "state_version"),
        ({"state_version": True}, "state_version"),
        ({"value_format": []}, r"a format is a name or a type: [] is not a type"),
        ({"output_formats": ["json"]}, "output_formats must be a dict of formats by topic"),
        ({"output_formats": {"t": 5}}, "a format is a name or a type: 5 is not a type"),
    ],
)
def test_a_processor_that_breaks_the_contract_is_refused(attributes: dict[str, Any], reason: str) -> None:
    with pytest.raises(PluginError, match=r"Made") as caught:
        check_processor_class(make(**attributes))
    assert reason in str(caught.value)


def test_the_api_version_is_checked_before_all_else(site: Site) -> None:
    newer = "class New(Processor):\n    api_version = 2\n    Options = None\n"
    hooks = (
        "@hookimpl\ndef framework_processors():\n    return [New]\n@hookimpl\ndef framework_of_the_future():\n    pass"
    )
    site.plugin("newer", newer + hooks)
    assert "needs API version 2" in refused("newer")


def test_several_processors_keep_their_names(site: Site) -> None:
    named = "class A(Count):\n    name = 'a'\nclass B(Count):\n    name = 'b'\n"
    site.plugin("pair", COUNT + named + HOOK.replace("[Count]", "(A, B)"))
    assert [(spec.name, spec.plugin) for spec in load(["pair"]).processors] == [("a", "pair"), ("b", "pair")]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("'a'", "''"), "B has no name"),
        (("'a'", "'a'"), "two processors are named a"),
        (("'a'", "'.b'"), "'.b' cannot name a processor"),
        (("'a'", "'a/b'"), "'a/b' cannot name a processor"),
        (("'a'", "7"), "7 cannot name a processor"),
    ],
)
def test_names_that_cannot_tell_processors_apart_are_refused(site: Site, names: tuple[str, str], reason: str) -> None:
    named = f"class A(Count):\n    name = {names[0]}\nclass B(Count):\n    name = {names[1]}\n"
    site.plugin("pair", COUNT + named + HOOK.replace("[Count]", "[A, B]"))
    assert reason in refused("pair")


# Codecs and stores

CODEC = """
class Plain(Codec):
    name = "plain"
    def encode(self, value):
        return b""
    def decode(self, data):
        return None

@hookimpl
def framework_codecs():
    return [Plain]
"""


def test_codecs_and_stores_are_built_in() -> None:
    plugins = load([])
    assert (plugins.codec("json"), plugins.store("sqlite")) == (JsonCodec, SqliteStore)
    for name in ("json", "msgpack"):
        assert plugins.codec(name).name == name
    for name in ("sqlite", "file", "memory"):
        assert plugins.store(name).name == name


def test_a_plugin_contributes_a_codec(site: Site) -> None:
    site.plugin("plain", CODEC)
    plugins = load(["plain"])
    assert plugins.codec("plain").__module__ == "mod_plain"
    assert plugins.processors == ()


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("codec", "jsn", " (did you mean json?)"),
        ("store", "sqlit", " (did you mean sqlite?)"),
        ("codec", "x", "; there are: json, msgpack"),
    ],
)
def test_an_unknown_codec_or_store_is_told_with_the_closest_or_else_with_all(kind: str, name: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        getattr(load([]), kind)(name)
    assert str(caught.value) == f"no {kind} named {name!r}{told}"


def test_a_codec_of_an_installed_plugin_is_found_though_the_plugin_is_not_loaded(site: Site) -> None:
    site.plugin("plain", CODEC)
    site.plugin("broken", "import no_such_module")
    assert load([]).codec("plain").__module__ == "mod_plain"
    with pytest.raises(UsageError, match=r"no codec named 'zip'; there are: .*; broken plugins may have it: broken"):
        load([]).codec("zip")


def test_a_codec_of_two_installed_plugins_must_be_chosen(site: Site) -> None:
    site.plugin("one", CODEC)
    site.plugin("two", CODEC)
    with pytest.raises(UsageError, match=r"several installed plugins have a codec named plain: one .* two .*--plugin"):
        load([]).codec("plain")
    assert load(["two"]).codec("plain").__module__ == "mod_two"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('"plain"', '"json"'), "built in"),
        (('"plain"', '"a b"'), "'a b' cannot name a codec"),
        (('name = "plain"', "pass"), "None cannot name a codec"),
        (("def decode", "def decade"), "lacks decode"),
        (("[Plain]", "[Plain, Plain]"), "two codecs are named plain"),
    ],
)
def test_a_bad_codec_is_refused(site: Site, change: tuple[str, str], reason: str) -> None:
    site.plugin("plain", CODEC.replace(*change))
    assert reason in refused("plain")


def test_two_plugins_cannot_contribute_one_codec(site: Site) -> None:
    site.plugin("one", CODEC)
    site.plugin("two", CODEC)
    assert "two codecs are named plain" in refused("one", "two")


STORE = """
from framework import Store
from framework.stores import StoreOptions

class PlainOptions(StoreOptions):
    retries: int = 3
    password: str = ""

class Plain(Store):
    name = "plain"
    keeps_rows = False
    survives = True
    Options = PlainOptions

    @classmethod
    def open(cls, location, options, *, read_only=False):
        store = cls()
        store.opened = location, options, read_only
        return store

    def none(self, *args):
        raise NotImplementedError

    id_of = claim = load = save = set_aside = stored = place = none

@hookimpl
def framework_stores():
    return [Plain]
"""


def opened(site: Site, location: str, options: dict[str, Any], **more: bool) -> tuple[str, Any, bool]:
    site.plugin("plain", STORE)
    store: Any = load(["plain"]).open_store(location, options, **more)
    assert type(store).__name__ == "Plain"
    found: tuple[str, Any, bool] = store.opened
    return found


@pytest.mark.parametrize("location", ["plain", "plain:", "plain:state", "plain://user@host:5432/database"])
def test_a_store_is_opened_by_its_name_or_by_a_location_that_begins_with_it(site: Site, location: str) -> None:
    where, options, read_only = opened(site, location, {})
    assert (where, read_only, options.retries) == (location, False, 3)


def test_a_store_gets_its_options_as_it_declares_them(site: Site) -> None:
    _, options, read_only = opened(site, "plain", {"retries": "7", "password": "secret"}, read_only=True)
    assert (options.retries, options.password, read_only) == (7, "secret", True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"retry": "7"}, r"has no option retry \(did you mean retries\?\)"),
        (
            {"retries": "secret"},
            "the options of the store plain cannot be used: retries: it must be a whole number",
        ),
        ({"retries": 7, "password": ["secret"]}, "password: it must be a text"),
    ],
)
def test_options_that_a_store_cannot_use_are_refused_without_their_values(
    site: Site, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        opened(site, "plain", options)
    assert str(caught.value).endswith(
        "options of the store plain: retries (int, default 3); password (str, default '')"
    )
    assert "secret" not in str(caught.value)


def test_a_location_of_no_store_is_refused_with_the_closest() -> None:
    with pytest.raises(UsageError, match=r"no store named 'sqlit' \(did you mean sqlite\?\)"):
        load([]).open_store("sqlit:state", {})


# Discovery


def test_discover_shows_all_that_is_installed_and_what_is_wrong(twins: Site) -> None:
    twins.plugin("broken", "import no_such_module")
    twins.plugin("misspelled", COUNT + "@hookimpl\ndef framework_procesors():\n    return [Count]")
    found = {(one.origin.name, one.origin.distribution): one for one in discover()}
    assert found["keycount", "framework-keycount"].status == "ok"
    assert found["broken", "dist-broken"].status == "broken"
    assert "no_such_module" in str(found["broken", "dist-broken"].reason)
    assert found["misspelled", "dist-misspelled"].status == "broken"
    for distribution in ("dist-tally", "Other.Tally"):
        twin = found["tally", distribution]
        assert (twin.status, twin.plugin is None) == ("duplicate", False)
        assert f"{distribution}:tally" in str(twin.reason)


def test_the_shipped_plugins_are_found_like_any_other() -> None:
    names = {spec.name: spec.cls.__module__ for spec in load(["keycount", "framework-sumbykey:sumbykey"]).processors}
    assert names == {"keycount": "framework_keycount", "sumbykey": "framework_sumbykey"}


def test_the_plugins_of_the_repository_are_known_by_name() -> None:
    folder = Path(__file__).parents[1] / "plugins"
    assert sorted(SHIPPED) == sorted(each.parent.name for each in folder.glob("*/pyproject.toml"))
