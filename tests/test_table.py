import copy
import gc
import importlib.util
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from framework.errors import TallyError
from framework.table import PlainTable, Table, stored_key

ENGINES: dict[str, Any] = {"python": PlainTable, "c": Table}
if Table is PlainTable:
    del ENGINES["c"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    return ENGINES[request.param]


def test_the_engine_in_c_is_the_one_wherever_it_is_installed() -> None:
    installed = importlib.util.find_spec("framework_speedups") is not None
    assert Table.__name__ == ("NativeTable" if installed else "PlainTable")


NAN = float("nan")
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)

KEYS = st.sampled_from(
    ["a", 0, 1, True, 1.0, Decimal(1), ("t", 1), ("t", True), NOON, NOON.astimezone(timezone(timedelta(hours=1)))]
)
PLAIN = st.none() | st.integers(-3, 3) | st.sampled_from(["", "x", 1.5, frozenset({1})])
VALUES = (
    PLAIN
    | st.lists(PLAIN, max_size=2)
    | st.dictionaries(st.sampled_from("ab"), PLAIN, max_size=2)
    | st.sets(st.integers(0, 3), max_size=2)
    | st.tuples(PLAIN, st.lists(PLAIN, max_size=2))
)
READS: dict[str, Callable[[Any, Any], Any]] = {
    "getitem": lambda table, key: table[key],
    "get": lambda table, key: table.get(key),
    "setdefault": lambda table, key: table.setdefault(key, []),
    "values": lambda table, key: next(value for own, value in zip(table, table.values(), strict=True) if own == key),
    "items": lambda table, key: next(value for own, value in table.items() if own == key),
}
NO_KEYS: dict[str, tuple[Any, type[Exception]]] = {
    "nan": (NAN, ValueError),
    "Decimal nan": (Decimal("nan"), ValueError),
    "in a tuple": (("a", (1, NAN)), ValueError),
    "in a frozenset": ((frozenset({("a", Decimal("nan"))}),), ValueError),
    "a list": ([], TypeError),
    "a list in a tuple": (("a", []), TypeError),
}


def change_in_place(value: Any, item: int) -> None:
    match value:
        case list():
            value.append(item)
        case dict():
            value[str(item)] = item
        case set():
            value ^= {item}
        case (_, list() as inner):
            inner.append(item)


def shape(key: Any) -> Any:
    """All that an equal key may differ in."""
    items = map(shape, key) if isinstance(key, tuple | frozenset) else [repr(key)]
    return type(key).__name__, *items


def exact(data: Any) -> list[Any]:
    """Keys with their types, and values."""
    return sorted(([shape(key), value] for key, value in data.items()), key=lambda item: repr(item[0]))


def taken(table: Any) -> tuple[dict[Any, Any], list[Any]]:
    """What a checkpoint would write: the present keys with their values, and the keys that are gone."""
    changed, deleted = table.take_changed()
    assert deleted <= changed
    data = table.view()
    present = {stored_key(data, key) if key in deleted else key: data[key] for key in changed if key in data}
    return present, [key for key in changed if key not in data or key in deleted]


class Machine(RuleBasedStateMachine):
    """A table is a dict, to the types of keys; what it gives as changed makes up that dict; undo brings back all."""

    engine: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[Any, Any] | None = None

    @initialize(data=st.dictionaries(KEYS, VALUES, max_size=3))
    def start(self, data: dict[Any, Any]) -> None:
        self.model = copy.deepcopy(data)
        self.saved = copy.deepcopy(data)
        self.table = self.engine(data)

    def known(self, data: st.DataObject) -> Any:
        return data.draw(st.sampled_from(list(self.model)))

    @rule(key=KEYS, value=VALUES)
    def set_value(self, key: Any, value: Any) -> None:
        self.model[key] = copy.deepcopy(value)
        self.table[key] = value

    @rule(new=st.lists(st.tuples(KEYS, VALUES), max_size=3), kind=st.sampled_from([list, dict, iter]))
    def update(self, new: list[Any], kind: Callable[[Any], Any]) -> None:
        self.model.update(copy.deepcopy(new))
        self.table.update(kind(new))

    @rule(value=VALUES)
    def update_by_name(self, value: Any) -> None:
        self.model.update(a=copy.deepcopy(value))
        self.table.update(a=value)

    @rule(key=KEYS)
    def read(self, key: Any) -> None:
        assert (key in self.table) == (key in self.model)
        assert self.table.get(key, "default") == self.model.get(key, "default")
        if key not in self.model:
            with pytest.raises(KeyError):
                self.table[key]

    @rule(key=KEYS, item=st.integers(0, 3))
    def set_default_and_change(self, key: Any, item: int) -> None:
        change_in_place(self.model.setdefault(key, []), item)
        change_in_place(self.table.setdefault(key, []), item)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), item=st.integers(0, 3), read=st.sampled_from(sorted(READS)))
    def change(self, data: st.DataObject, item: int, read: str) -> None:
        key = self.known(data)
        change_in_place(self.model[key], item)
        change_in_place(READS[read](self.table, key), item)

    @rule(key=KEYS)
    def delete(self, key: Any) -> None:
        if key in self.model:
            del self.model[key]
            del self.table[key]
        else:
            with pytest.raises(KeyError):
                del self.table[key]

    @rule(key=KEYS, again=KEYS, value=VALUES)
    def delete_and_set_another(self, key: Any, again: Any, value: Any) -> None:
        self.pop(key)
        self.set_value(again, value)

    @rule(key=KEYS)
    def pop(self, key: Any) -> None:
        assert self.table.pop(key, "none") == self.model.pop(key, "none")

    @precondition(lambda self: self.model)
    @rule()
    def pop_item(self) -> None:
        key, value = self.table.popitem()
        assert self.model.pop(key) == value

    @rule(again=KEYS, value=VALUES)
    def clear_and_set_another(self, again: Any, value: Any) -> None:
        self.model.clear()
        self.table.clear()
        self.set_value(again, value)

    @precondition(lambda self: self.before is None)
    @rule()
    def checkpoint(self) -> None:
        present, gone = taken(self.table)
        for key in gone:
            self.saved.pop(key, None)
        self.saved.update(copy.deepcopy(present))
        assert exact(self.saved) == exact(self.model)
        assert not self.table.is_changed
        assert self.table.take_changed() == (set(), set())

    @precondition(lambda self: self.before is None)
    @rule()
    def begin_undo(self) -> None:
        self.before = copy.deepcopy(self.model)
        self.table.begin_undo()

    @precondition(lambda self: self.before is not None)
    @rule()
    def undo(self) -> None:
        assert self.before is not None
        self.model, self.before = self.before, None
        self.table.undo()

    @precondition(lambda self: self.before is not None)
    @rule()
    def end_undo(self) -> None:
        self.before = None
        self.table.end_undo()

    @rule(key=KEYS)
    def contains(self, key: Any) -> None:
        assert (key in self.table) == (key in self.model)

    @rule(keys=st.lists(KEYS, max_size=4), kind=st.sampled_from([list, tuple, iter, dict.fromkeys]))
    def tally(self, keys: list[Any], kind: Callable[[list[Any]], Any]) -> None:
        keys = [key for key in keys if isinstance(self.model.get(key, 0), int)]
        for key in kind(keys):
            self.model[key] = self.model.get(key, 0) + 1
        self.table.tally(kind(keys))

    @rule(keys=st.lists(KEYS, max_size=4), read=st.sampled_from(sorted(READS)))
    def tally_what_is_read_meanwhile(self, keys: list[Any], read: str) -> None:
        keys = [key for key in keys if isinstance(self.model.get(key, "none"), int)]
        self.table.tally(key for key in keys if isinstance(READS[read](self.table, key), int))
        for key in keys:
            self.model[key] += 1

    @rule()
    def tally_while_it_is_read(self) -> None:
        numbers = [key for key, value in self.model.items() if isinstance(value, int)]
        for key in self.table:
            if key in numbers and self.table[key] is not None:
                self.table.tally([key])
        for key in numbers:
            self.model[key] += 1

    @rule(most=st.integers(0, 3))
    def add_tallies(self, most: int) -> None:
        assert (self.table.add_tallies(most) == 0) >= (most == 0 and not self.table.is_changed)

    @rule(no_key=st.sampled_from(sorted(NO_KEYS)), keys=st.lists(KEYS, max_size=3), at=st.integers(0, 3))
    def refuse(self, no_key: str, keys: list[Any], at: int) -> None:
        key, error = NO_KEYS[no_key]
        with pytest.raises(error):
            self.table[key] = 1
        with pytest.raises(error):
            self.table.tally([*keys[:at], key, *keys[at:]])

    @rule()
    def look(self) -> None:
        """Not after each step: what is tallied is added when somebody looks."""
        assert exact(self.table.view()) == exact(self.model)
        assert len(self.table) == len(self.model)
        assert list(self.table) == list(self.table.keys())
        assert self.table.broken is None

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.look()


@pytest.mark.timeout(300)
def test_behaves_as_a_dict_that_knows_its_changes(engine: Any) -> None:
    machine = type(f"{engine.__name__}Machine", (Machine,), {"engine": engine})
    run_state_machine_as_test(machine, settings=settings(max_examples=200, deadline=None))


def test_a_default_may_be_named(engine: Any) -> None:
    assert engine({"a": 1}).get("b", default=2) == 2
    for arguments in [(), ("a", 1, 2)]:
        with pytest.raises(TypeError):
            engine().get(*arguments)
    with pytest.raises(TypeError):
        engine().get("a", other=2)


def test_the_data_become_the_tables_own(engine: Any) -> None:
    data = {"a": 1}
    assert engine(data).view() is data
    assert engine().view() == engine(None).view() == engine(data=None).view() == {}


@pytest.mark.parametrize("read", sorted(READS))
@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, (1, [2]), bytearray(b"x")])
def test_reading_what_can_change_marks_it(engine: Any, read: str, value: Any) -> None:
    table = engine({"k": value, "other": 1})
    READS[read](table, "k")
    assert table.take_changed() == ({"k"}, set())


@pytest.mark.parametrize("read", sorted(READS))
@pytest.mark.parametrize("value", [None, 1, 1.5, "x", b"y", True, frozenset({1})])
def test_reading_what_cannot_change_marks_nothing(engine: Any, read: str, value: Any) -> None:
    table = engine({"k": value})
    READS[read](table, "k")
    assert not table.is_changed


def test_looking_without_values_marks_nothing(engine: Any) -> None:
    table = engine({"k": [1]})
    assert ("k" in table, list(table), len(table), table.view()["k"]) == (True, ["k"], 1, [1])
    assert list(table.keys()) == ["k"]
    assert repr(table) == "State({'k': [1]})"
    assert not table.is_changed


def test_changing_its_size_while_it_is_read_is_refused_as_by_a_dict(engine: Any) -> None:
    table = engine({"a": 1, "b": 2})
    with pytest.raises(RuntimeError, match="changed size"):
        list(map(table.pop, table))


def test_a_key_that_came_and_went_is_gone(engine: Any) -> None:
    table = engine({"a": 1})
    table["b"] = 1
    del table["b"]
    del table["a"]
    assert table.take_changed() == ({"a", "b"}, {"a", "b"})
    assert table.view() == {}


def test_a_deleted_key_may_come_back_with_another_type(engine: Any) -> None:
    table = engine({1: "old", 2: "kept"})
    del table[1]
    table[True] = "new"
    table[2.0] = "new"
    assert taken(table) == ({True: "new", 2: "new"}, [1])
    assert exact(table.view()) == exact({True: "new", 2: "new"})


def test_undo_brings_back_the_key_that_was_deleted_first(engine: Any) -> None:
    table = engine({1: ["old"]})
    table.begin_undo()
    table[Decimal(1)].append("new")
    del table[1.0]
    table[True] = 1
    del table[True]
    table[1.0] = 1
    table.undo()
    assert exact(table.view()) == exact({1: ["old"]})
    assert table.take_changed() == (set(), set())


def test_keys_may_come_back_with_another_type_after_clear(engine: Any) -> None:
    table = engine({1: "old"})
    table.clear()
    table[True] = "new"
    assert taken(table) == ({True: "new"}, [1])
    table.begin_undo()
    table.clear()
    table[1.0] = "newer"
    table.undo()
    assert exact(table.view()) == exact({True: "new"})


def test_an_undo_forgets_the_ones_before(engine: Any) -> None:
    table = engine({1: 5})
    for ending in (table.end_undo, table.undo):
        table.begin_undo()
        del table[1]
        table[True] = 5
        table.tally([1, "a"])
        assert table[1] == 6
        table.tally([1, "b"])
        ending()
        assert table.touched == 0
    table.tally([1, "a", "b"])
    table.begin_undo()
    table[True] = 0
    table.undo()
    assert table.view() == {True: 8, "a": 2, "b": 2}
    assert type(next(key for key in table if key == 1)) is bool
    assert taken(table) == ({True: 8, "a": 2, "b": 2}, [1])


@pytest.mark.parametrize("no_key", NO_KEYS)
def test_what_cannot_be_found_again_is_no_key(engine: Any, no_key: str) -> None:
    key, error = NO_KEYS[no_key]
    table = engine({"a": 1})
    ways: list[Callable[[], Any]] = [
        lambda: table.__setitem__(key, 1),
        lambda: table.setdefault(key, 1),
        lambda: table.update([("b", 1), (key, 1)]),
        lambda: table.tally(["a", key, "b"]),
    ]
    for way in ways:
        with pytest.raises(error, match="does not equal itself" if error is ValueError else "unhashable"):
            way()
    assert not table.is_changed
    assert table.view() == {"a": 1}
    assert table.broken is None


def test_a_key_too_long_to_be_shown_is_refused_with_its_type(engine: Any) -> None:
    with pytest.raises(ValueError, match=r"^<tuple> cannot be a key of state"):
        engine()[(10**5000, NAN)] = 1


@pytest.mark.parametrize("key", [0.5, float("inf"), Decimal("1.5"), Decimal("inf"), (0.5, "a"), frozenset({1.5}), UTC])
def test_other_keys_are_kept(engine: Any, key: Any) -> None:
    table = engine()
    table[key] = 1
    table.tally([key, key])
    assert table.view() == {key: 3}


def test_what_was_undone_does_not_change_later(engine: Any) -> None:
    table = engine({"k": [1]})
    table.begin_undo()
    kept = table["k"]
    kept.append(2)
    table.undo()
    kept.append(3)
    assert table.view() == {"k": [1]}


def test_undo_without_begin_changes_nothing(engine: Any) -> None:
    table = engine()
    table["a"] = 1
    table.undo()
    assert table.view() == {"a": 1}


def test_beginning_again_keeps_what_was_changed(engine: Any) -> None:
    table = engine({"a": 1, "b": 1})
    table.begin_undo()
    table["a"] = 2
    del table["b"]
    table.begin_undo()
    table["a"] = 3
    table.undo()
    assert table.view() == {"a": 2}
    assert table.take_changed() == ({"a", "b"}, {"b"})


def test_what_was_undone_is_no_change(engine: Any) -> None:
    table = engine({"a": [1], "b": 2, "d": 4})
    table.begin_undo()
    table["a"].append(2)
    table["b"] = 3
    table.tally(["c", "b"])
    assert table.get("c") == 1
    del table["d"]
    assert len(table) == 3
    assert table.touched == 4
    table.undo()
    assert not table.is_changed
    assert table.take_changed() == (set(), set())


def test_a_failed_change_leaves_no_trace(engine: Any) -> None:
    class Stubborn:
        def __deepcopy__(self, memo: Any) -> Any:
            raise MemoryError

    table = engine({"a": [Stubborn()]})
    table.begin_undo()
    for way in [table.get, table.pop, lambda key: table.update({key: 1}), lambda key: table.clear()]:
        with pytest.raises(MemoryError):
            way("a")
    table.undo()
    assert list(table.view()) == ["a"]
    assert table.broken is None


def provoked(table: Any) -> BaseException:
    """The error that looking at the table as a whole raises."""
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        table.view()
    return raised.value


LOOKS: dict[str, Callable[[Any], Any]] = {
    "len": len,
    "iter": list,
    "repr": repr,
    "keys": lambda table: table.keys(),
    "items": lambda table: table.items(),
    "values": lambda table: table.values(),
    "clear": lambda table: table.clear(),
    "update": lambda table: table.update(c=1),
    "take_changed": lambda table: table.take_changed(),
    "add_tallies": lambda table: table.add_tallies(9),
}


def test_what_is_no_number_cannot_be_tallied(engine: Any) -> None:
    table = engine({"a": 1, "b": "text"})
    table.tally(["a", "a", "b"])
    assert table.broken is None
    with pytest.raises(TallyError, match="key 'b' was tallied, but its value is of type str") as raised:
        table["b"]
    assert isinstance(raised.value.__cause__, TypeError)
    assert table.broken is raised.value


@pytest.mark.parametrize("undoing", [False, True])
@pytest.mark.parametrize("look", LOOKS)
def test_a_tally_of_what_is_no_number_breaks_the_table_even_if_it_is_caught(
    engine: Any, look: str, undoing: bool
) -> None:
    table = engine({"b": "text"})
    if undoing:
        table.begin_undo()
    table.tally(["a", "b"])
    with pytest.raises(TallyError):
        LOOKS[look](table)
    for _ in range(2):
        with pytest.raises(TallyError) as again:
            table.take_changed()
        assert again.value is table.broken
    table.undo()
    assert provoked(table) is table.broken


def test_a_key_too_long_to_be_shown_is_tallied_and_refused(engine: Any) -> None:
    table = engine({10**5000: "text"})
    table.tally([10**5000])
    with pytest.raises(TallyError, match="key <int> was tallied"):
        table.view()


class Fragile:
    """Keys that are all equal, and raise what they are told to when they are compared."""

    error: ClassVar[BaseException | None] = None

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        if Fragile.error is not None:
            raise Fragile.error
        return isinstance(other, Fragile)


@pytest.fixture(params=[MemoryError, ValueError, KeyboardInterrupt])
def error(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """What `Fragile` raises once `Fragile.error` is set to it."""
    monkeypatch.setattr(Fragile, "error", None)
    planted: BaseException = request.param("planted")
    return planted


def undoing(engine: Any) -> Any:
    table = engine({Fragile(): 1})
    table[Fragile()] = 2
    table.begin_undo()
    return table


def undoing_a_value(engine: Any) -> Callable[[], Any]:
    table = undoing(engine)
    table[Fragile()] = 3
    return lambda: table.undo()


def undoing_a_tally(engine: Any) -> Callable[[], Any]:
    table = undoing(engine)
    table.tally([Fragile()])
    table.tally([Fragile()])
    return lambda: table.undo()


def undoing_a_deletion(engine: Any) -> Callable[[], Any]:
    table = undoing(engine)
    del table[Fragile()]
    table[Fragile()] = 3
    return lambda: table.undo()


def ending_undo(engine: Any) -> Callable[[], Any]:
    table = undoing(engine)
    table[Fragile()] = 3
    return lambda: table.end_undo()


def adding_tallies(engine: Any) -> Callable[[], Any]:
    table = engine({Fragile(): 1})
    table.tally([Fragile()])
    return lambda: table.add_tallies(1)


def adding_tallies_undoing(engine: Any) -> Callable[[], Any]:
    table = undoing(engine)
    table.tally([Fragile()])
    return lambda: table.view()


STEPS = [undoing_a_value, undoing_a_tally, undoing_a_deletion, ending_undo, adding_tallies, adding_tallies_undoing]


@pytest.mark.parametrize("step", STEPS)
def test_an_error_half_way_breaks_the_table(
    engine: Any, error: BaseException, step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = step(engine)
    [table] = [cell.cell_contents for cell in call.__closure__]
    monkeypatch.setattr(Fragile, "error", error)
    with pytest.raises(type(error), match="planted"):
        call()
    assert table.broken is error
    monkeypatch.setattr(Fragile, "error", None)
    assert provoked(table) is error
    with pytest.raises(type(error)):
        table.take_changed()
    table.end_undo()
    table.undo()
    assert table.broken is error


def test_an_error_in_taking_back_what_was_tallied_breaks_the_table(
    engine: Any, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fuse:
        def __hash__(self) -> int:
            Fragile.error = error
            raise TypeError("no hash")

    table = engine()
    table.tally([Fragile()])
    with pytest.raises(type(error), match="planted"):
        table.tally([Fragile(), Fuse()])
    assert table.broken is error


def test_undo_leaves_a_broken_table_as_it_is(engine: Any) -> None:
    table = engine({"a": "text", "b": 1})
    table.begin_undo()
    table["b"] = 2
    table.tally(["a", "b"])
    with pytest.raises(TallyError) as raised:
        table["a"]
    table.undo()
    assert table.touched == 0
    assert table["b"] == 3
    assert table.broken is raised.value


def test_an_error_before_anything_changed_breaks_nothing(
    engine: Any, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = undoing(engine)
    monkeypatch.setattr(Fragile, "error", error)
    for way in [table.get, table.__delitem__, lambda key: table.tally(["a", key]), lambda key: table.update({key: 1})]:
        with pytest.raises(type(error)):
            way(Fragile())
    monkeypatch.setattr(Fragile, "error", None)
    assert table.broken is None
    table.undo()
    assert table.view() == {Fragile(): 2}


@pytest.mark.parametrize("undoing", [False, True])
def test_keys_are_taken_before_they_are_tallied(engine: Any, undoing: bool) -> None:
    table = engine()
    if undoing:
        table.begin_undo()
    table.tally(key for key in "aaaaa" if table.get(key, 0) < 3)
    table.tally(key for key in ["a", "b"] if len(table) < 2)
    table.end_undo()
    assert taken(table) == ({"a": 6, "b": 1}, [])


@pytest.mark.parametrize("looking", [False, True])
def test_what_was_listed_does_not_change_later(engine: Any, looking: bool) -> None:
    table = engine({"a": 5})
    keys = ["a", "b"]
    table.begin_undo()
    table.tally(keys)
    keys[:] = ["c"]
    assert not looking or table.get("a") == 6
    table.undo()
    assert table.view() == {"a": 5}


@pytest.mark.parametrize("undoing", [False, True])
def test_a_new_key_may_be_tallied_while_others_are_read(engine: Any, undoing: bool) -> None:
    table = engine({"a": 9, "b": 9})
    if undoing:
        table.begin_undo()
    for key in table:
        if table[key] > 5:
            table.tally(["big"])
    assert table.view() == {"a": 9, "b": 9, "big": 2}


def test_tallies_are_added_bit_by_bit(engine: Any) -> None:
    table = engine({1: 1})
    table.tally([1, 2, 3, 3, 4])
    assert [table.add_tallies(3) for _ in range(3)] == [1, 0, 0]
    assert table.view() == {1: 2, 2: 1, 3: 2, 4: 1}


def test_memory_is_given_back_bit_by_bit(engine: Any) -> None:
    table = engine(dict.fromkeys(range(5), "value"))
    assert [table.free(2) for _ in range(4)] == [3, 1, 0, 0]


def test_a_table_in_a_cycle_is_collected(engine: Any) -> None:
    class Witness:
        pass

    witness = Witness()
    gone = weakref.ref(witness)
    table = engine({"witness": witness})
    table["table"] = table
    table.begin_undo()
    table["again"] = (table, witness)
    del table, witness
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(("key", "stored"), [(True, 1), ((1.0, True), (1, 1)), (Decimal(2), 2), ("a", "a"), (3, 3)])
def test_the_stored_key_is_the_one_that_the_dict_holds(key: Any, stored: Any) -> None:
    data = {1: "one", (1, 1): "tuple", 2: "two", "a": "text"}
    assert shape(stored_key(data, key)) == shape(stored)


def test_a_stored_key_that_compares_with_its_own_kind_alone_is_not_found() -> None:
    class Proud:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Proud)

    key = Proud()
    assert stored_key({Proud(): 1}, key) is key
