import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from framework.cli.main import cli
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.plugins import load
from framework.runtime.timers import UnitTimers
from framework.stores import SAVED, STATE_TABLE, TIMERS_TABLE, Changes, Checkpoint, Description, Progress, Store, Unit

CODECS = {"json": JsonCodec(), "msgpack": MsgpackCodec()}
Save = Callable[..., None]


@pytest.fixture(params=["sqlite", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store that its owner has open while the commands read it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAMEWORK_STORE", request.param)
    opened = load([]).open_store(f"{request.param}:{tmp_path / 'state'}", {})
    yield opened
    opened.close()


@pytest.fixture
def save(store: Store) -> Save:
    def save(
        state: dict[Any, Any],
        partition: int = 0,
        *,
        group: str = "framework-keycount",
        plugin: str = "keycount",
        topic: str = "test",
        codec: str = "json",
        last_offset: int = 9,
        missing_offsets: int = 0,
    ) -> None:
        unit = Unit(group, plugin, topic, partition)
        progress = Progress(last_offset, last_offset + 1, missing_offsets=missing_offsets)
        save_first(store, unit, whole(store, len(state), CODECS[codec].encode(state)), progress, codec)

    return save


def whole(store: Store, keys: int, row: bytes) -> Changes:
    """A whole table in one row."""
    if store.keeps_rows:
        return Changes(keys, base=[row], base_begins=True, base_ends=True)
    return Changes(keys, rows=[row])


def save_first(store: Store, unit: Unit, changes: Changes, progress: Progress, codec: str = "json") -> None:
    [claim] = store.claim([unit], lambda unit, stored: None)
    store_one(store, unit, claim.epoch, 1, changes, progress, codec)


def store_one(
    store: Store, unit: Unit, epoch: int, version: int, changes: Changes, progress: Progress, codec: str = "json"
) -> None:
    described = Description(codec, 1, 4, None)
    checkpoint = Checkpoint(unit, epoch, version, {unit.topic_partition: progress}, described, {STATE_TABLE: changes})
    assert store.save([checkpoint]) == [SAVED]


def state(*args: str) -> Result:
    return CliRunner().invoke(cli, ["state", *args])


def output(*args: str) -> str:
    result = state(*args)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return result.stdout


def test_list_as_json(save: Save) -> None:
    save({"a": 1, "b": 2}, 1, last_offset=7)
    save({"a": 1}, 0, codec="msgpack", missing_offsets=3)
    before = datetime.now(UTC).replace(microsecond=0)
    first, second = json.loads(output("list", "--json"))
    assert first.pop("bytes") > 0
    assert second.pop("bytes") >= len('{"a":1,"b":2}')
    assert abs((datetime.fromisoformat(first.pop("saved_at")) - before).total_seconds()) < 600
    assert datetime.fromisoformat(second.pop("saved_at")).tzinfo == UTC
    unit = {"group": "framework-keycount", "plugin": "keycount", "topic": "test", "epoch": 1, "version": 1}
    assert first == unit | {"partition": 0, "last_offset": 9, "keys": 1, "codec": "msgpack", "missing_offsets": 3}
    assert second == unit | {"partition": 1, "last_offset": 7, "keys": 2, "codec": "json", "missing_offsets": 0}


def test_list_as_a_table(save: Save) -> None:
    save({"a": 1})
    heads, row = output("list").splitlines()
    assert heads.split("  ")[0] == "topic"
    assert all(
        name in heads for name in ("partition", "plugin", "last offset", "keys", "bytes", "codec", "epoch", "version")
    )
    assert "group" not in heads
    assert row.split()[:5] == ["test", "0", "keycount", "9", "1"]


def test_list_chooses(save: Save) -> None:
    save({}, 0)
    save({}, 1)
    save({}, 0, topic="other")
    save({}, 0, group="g")
    assert len(json.loads(output("list", "--json"))) == 4
    assert output("list").startswith("group")
    assert len(json.loads(output("list", "--json", "--group", "g"))) == 1
    assert len(json.loads(output("list", "--json", "--topic", "other"))) == 1
    assert len(json.loads(output("list", "--json", "--partition", "0", "--partition", "2"))) == 3
    assert len(json.loads(output("list", "--json", "--topic", "test", "--partition", "1"))) == 1


def test_list_shows_what_is_only_claimed(store: Store) -> None:
    store.claim([Unit("g", "keycount", "test", 0)], lambda unit, stored: None)
    (unit,) = json.loads(output("list", "--json"))
    assert (unit["last_offset"], unit["keys"], unit["codec"], unit["saved_at"]) == (-1, 0, None, None)
    assert output("list").splitlines()[1].split()[6:] == ["-", "-", "1", "0"]


def test_list_of_nothing_creates_nothing(tmp_path: Path) -> None:
    result = state("list", "--state-dir", str(tmp_path / "none"), "--json")
    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (0, [], "")
    result = state("list", "--state-dir", str(tmp_path / "none"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing is stored" in result.stderr
    assert not (tmp_path / "none").exists()


def test_show_goes_by_value_over_all_partitions(save: Save) -> None:
    save({"a": 1, None: 5}, 0)
    save({"": 3, "null": 2}, 1, codec="msgpack")
    assert output("show", "keycount").splitlines() == [
        "key     value",
        "null    5",
        '""      3',
        '"null"  2',
        "a       1",
    ]
    assert output("show", "keycount", "--top", "2").splitlines()[1:] == ["null  5", '""    3']


def test_show_a_key_that_is_in_several_partitions(save: Save) -> None:
    save({"a": 1}, 0)
    save({"a": 2}, 1)
    assert [line.split() for line in output("show", "keycount").splitlines()] == [
        ["partition", "key", "value"],
        ["test-1", "a", "2"],
        ["test-0", "a", "1"],
    ]
    assert output("show", "keycount", "--partition", "0").splitlines() == ["key  value", "a    1"]


def test_show_as_json(save: Save) -> None:
    save({"a": Decimal("1.5"), None: 2})
    assert json.loads(output("show", "keycount", "--json", "--top", "1")) == [
        {"topic": "test", "partition": 0, "key": None, "value": 2}
    ]


def test_top_by_a_field(save: Save) -> None:
    save({"a": {"n": 1}, "b": {"n": 3}}, 0)
    save({("c", 1): {"n": 2}}, 1)
    assert output("show", "keycount", "--top", "2", "--by", "n").splitlines() == [
        "key       value",
        '"b"       {"n": 3}',
        '("c", 1)  {"n": 2}',
    ]
    result = state("show", "keycount", "--top", "1")
    assert result.exit_code == 2
    assert "the value of a is a dict; name one of its fields with --by (it has: n)" in result.stderr


def test_show_one_key(save: Save) -> None:
    save({"a": 1, (1, "x"): 2}, 0)
    save({"a": 3, "1": 4, 1: 5}, 1)
    assert output("show", "keycount", "--key", '(1, "x")').splitlines()[1:] == ['(1, "x")  2']
    assert output("show", "keycount", "--key", "1").splitlines()[1:] == ["1    5", '"1"  4']
    assert [line.split() for line in output("show", "keycount", "--key", "a").splitlines()[1:]] == [
        ["test-1", "a", "3"],
        ["test-0", "a", "1"],
    ]
    assert json.loads(output("show", "keycount", "--key", "a", "--partition", "0", "--json")) == [
        {"topic": "test", "partition": 0, "key": "a", "value": 1}
    ]
    result = state("show", "keycount", "--key", "b")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the state of keycount has no key b\n")
    assert output("show", "keycount", "--key", "b", "--json") == "[\n]\n"


def save_timers(store: Store, timers: UnitTimers, partition: int = 0) -> None:
    unit = Unit("framework-absent", "absent", "test", partition)
    [claim] = store.claim([unit], lambda unit, stored: None)
    tables = {
        STATE_TABLE: whole(store, 0, b"{}"),
        TIMERS_TABLE: whole(store, len(timers), CODECS["json"].encode(dict(timers.table.view()))),
    }
    described = Description("json", 1, 4, None)
    progress = {unit.topic_partition: Progress(9, 10)}
    assert store.save([Checkpoint(unit, claim.epoch, 1, progress, described, tables)]) == [SAVED]


def test_show_timers_the_next_one_first(store: Store) -> None:
    timers = UnitTimers()
    timers.set("b", 1_357_032_000_000)
    timers.set(("a", 1), 1_357_031_999_500, name="x", wall=True)
    save_timers(store, timers)
    other = UnitTimers()
    other.set("b", 1_000)
    save_timers(store, other, 1)
    assert [line.split() for line in output("show", "absent", "--timers").splitlines()] == [
        ["key", "name", "time", "clock"],
        ['"b"', '""', "1970-01-01T00:00:01Z", "event"],
        ['("a",', "1)", "x", "2013-01-01T09:19:59.500Z", "wall"],
        ['"b"', '""', "2013-01-01T09:20:00Z", "event"],
    ]
    assert json.loads(output("show", "absent", "--timers", "--key", "b", "--partition", "1", "--json")) == [
        {"topic": "test", "partition": 1, "key": "b", "name": "", "time": "1970-01-01T00:00:01Z", "clock": "event"}
    ]
    assert output("show", "absent", "--timers", "--partition", "1").splitlines()[1:] == [
        'b    ""    1970-01-01T00:00:01Z  event'
    ]
    result = state("show", "absent", "--timers", "--limit", "2")
    assert result.stderr == "… and 1 more; --limit 0 shows all\n"
    result = state("show", "absent", "--timers", "--key", "c")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the state of absent has no timer of key c\n")
    assert "leave --top and --by out" in state("show", "absent", "--timers", "--top", "1").stderr


def test_show_timers_where_none_are_set(save: Save) -> None:
    save({"a": 1})
    result = state("show", "keycount", "--timers")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the state of keycount has no timers\n")
    assert json.loads(output("show", "keycount", "--timers", "--json")) == []


def test_show_is_limited(save: Save) -> None:
    save({f"{number:04}": number for number in range(1500)})
    result = state("show", "keycount", "--limit", "2")
    assert result.stdout.splitlines()[1:] == ["1499  1499", "1498  1498"]
    assert result.stderr == "… and 1,498 more; --limit 0 shows all\n"
    assert len(json.loads(state("show", "keycount", "--limit", "3", "--json").stdout)) == 3
    assert len(output("show", "keycount").splitlines()) == 1501
    assert len(output("show", "keycount", "--limit", "0").splitlines()) == 1501
    assert "leave one out" in state("show", "keycount", "--limit", "2", "--top", "1").stderr


def on_terminal(tmp_path: Path, columns: int, *args: str, **variables: str) -> list[str]:
    """The lines that `framework state` prints on a terminal of that many columns."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "framework", "state", *args],
        stdout=terminal,
        stderr=terminal,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": str(columns), **variables},
    )
    os.close(terminal)
    printed = b""
    with suppress(OSError), open(controller, "rb", buffering=0) as screen:  # Linux ends it with an error
        while piece := screen.read(65536):
            printed += piece
    assert process.wait() == 0
    return printed.decode().splitlines()


def test_a_terminal_shows_a_hundred_keys_by_default(save: Save, tmp_path: Path, store: Store) -> None:
    save({f"{number:04}": number for number in range(1500)})
    lines = on_terminal(tmp_path, 80, "show", "keycount", FRAMEWORK_STORE=store.name)
    assert (len(lines), lines[-1]) == (102, "… and 1,400 more; --limit 0 shows all")
    assert len(on_terminal(tmp_path, 80, "show", "keycount", "--limit", "0", FRAMEWORK_STORE=store.name)) == 1501


def test_a_narrow_terminal_lists_the_important_columns(save: Save, tmp_path: Path, store: Store) -> None:
    save({"a": 1})
    *table, note = on_terminal(tmp_path, 60, "list", FRAMEWORK_STORE=store.name)
    assert [line.split()[:4] for line in table] == [
        ["topic", "partition", "plugin", "last"],
        ["test", "0", "keycount", "9"],
    ]
    assert all(len(line) <= 60 for line in table)
    assert note.startswith("not shown, for lack of room: saved at, codec, ")


def test_list_shows_missing_offsets_where_there_are_some(save: Save) -> None:
    save({"a": 1})
    assert "missing" not in output("list")
    save({"a": 1}, 1, missing_offsets=3)
    heads, *rows = output("list").splitlines()
    at = heads.index("missing offsets")
    assert [row[at : at + len("missing offsets")].strip() for row in rows] == ["0", "3"]


def test_show_state_without_keys(save: Save) -> None:
    save({})
    result = state("show", "keycount")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "has no keys" in result.stderr
    assert json.loads(output("show", "keycount", "--json")) == []


def test_export_is_lossless(save: Save) -> None:
    first = {"a": 1, None: 2, (1, "x"): {"d": Decimal("1.50")}}
    save(first, 0, codec="msgpack")
    save({"a": 3}, 1)
    lines = output("export", "keycount").splitlines()
    assert json.loads(lines[0]) == {"plugin": "keycount", "topic": "test", "partition": 0, "key": "a", "value": 1}
    exported = [CODECS["json"].decode(line.encode()) for line in lines]
    assert {entry["key"]: entry["value"] for entry in exported if entry["partition"] == 0} == first
    assert [entry["value"] for entry in exported if entry["partition"] == 1] == [3]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_export_folds_the_changes_in(store: Store, save: Save) -> None:
    save({"a": 1, "b": 2}, last_offset=3)
    unit = Unit("framework-keycount", "keycount", "test", 0)
    row = CODECS["json"].encode([{"a": 5, "c": 1}, ["b"]])
    store_one(store, unit, 1, 2, Changes(2, rows=[row]), Progress(4, 5))
    exported = [json.loads(line) for line in output("export", "keycount").splitlines()]
    assert {entry["key"]: entry["value"] for entry in exported} == {"a": 5, "c": 1}


@pytest.mark.parametrize("command", ["show", "export"])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["keycont"], "no state of keycont in group framework-keycont (did you mean keycount?); there is state of "),
        (["sumbykey"], "no state of sumbykey in group framework-sumbykey, but in group g; add --group g"),
        (
            ["topkeys"],
            "in group framework-topkeys, but in the groups g, h; choose one with --group",
        ),
        (["keycount", "--group", "x"], "but in group framework-keycount; add --group framework-keycount"),
        (["keycount", "--partition", "7"], "is of this topic and partition; there is test-0"),
        (["keycount", "--topic", "x"], "is of this topic and partition; there is test-0"),
        (["keycount", "--state-dir", "none"], "nothing is stored there; check --state-dir and --store"),
    ],
)
def test_asking_for_what_is_not_there(save: Save, command: str, args: list[str], message: str) -> None:
    save({"a": 1})
    save({"a": 1}, plugin="sumbykey", group="g")
    for group in "gh":
        save({"a": 1}, plugin="topkeys", group=group)
    result = state(command, *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_reading_disturbs_no_owner(store: Store, save: Save) -> None:
    save({"a": 1}, last_offset=3)
    before = store.stored()
    for args in (["list"], ["show", "keycount"], ["export", "keycount"]):
        output(*args)
    assert store.stored() == before
    unit = Unit("framework-keycount", "keycount", "test", 0)
    row = CODECS["json"].encode([{}, []] if store.keeps_rows else {})
    store_one(store, unit, 1, 2, Changes(1, rows=[row]), Progress(4, 5))


def test_state_in_an_unknown_codec(store: Store, save: Save) -> None:
    CODECS["zip"] = CODECS["json"]
    try:
        save({"a": 1}, codec="zip")
    finally:
        del CODECS["zip"]
    result = state("show", "keycount")
    assert result.exit_code == 3
    assert "no codec named 'zip'" in result.stderr
    assert "keycount on test-0" in result.stderr


@pytest.mark.parametrize("row", [b"[1]", b"{"])
def test_state_that_makes_no_sense_is_corrupt(store: Store, row: bytes) -> None:
    unit = Unit("framework-keycount", "keycount", "test", 0)
    save_first(store, unit, whole(store, 1, row), Progress(0, 1))
    result = state("export", "keycount")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "keycount on test-0" in result.stderr


@pytest.mark.parametrize("command", [["list"], ["show", "keycount"], ["export", "keycount"]])
def test_no_state_in_memory_or_in_an_unknown_store(command: list[str]) -> None:
    result = state(*command, "--store", "memory")
    assert result.exit_code == 2
    assert "keeps nothing beyond the worker's own process" in result.stderr
    result = state(*command, "--store", "sqlit")
    assert result.exit_code == 2
    assert "did you mean sqlite" in result.stderr


def test_what_is_not_ascii_goes_through_a_pipe(store: Store, save: Save, tmp_path: Path) -> None:
    save({"日本": 1})
    done = subprocess.run(
        [sys.executable, "-m", "framework", "state", "export", "keycount"],
        stdout=subprocess.PIPE,
        check=True,
        cwd=tmp_path,
        env={"PYTHONIOENCODING": "ascii", "FRAMEWORK_STORE": store.name},
    )
    assert "日本" in done.stdout.decode()
