import copy
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from framework import State as FastestState
from framework import TallyError
from framework._values import Values


def plain_state() -> type[FastestState[Any, Any]]:
    """The class as it is where the accelerator is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "framework_speedups", None)
        spec = importlib.util.find_spec("framework.state")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    state: type[FastestState[Any, Any]] = module.State
    assert issubclass(state, Values)
    return state


STATES = {"plain": plain_state()}
if not issubclass(FastestState, Values):
    STATES["speedups"] = FastestState
State = FastestState


@pytest.fixture(autouse=True, params=STATES)
def _each_state(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "State", STATES[request.param])


KEYS = st.sampled_from([None, "", "a", "b", 0, ("t", 1)])
PLAIN = st.none() | st.integers(-3, 3) | st.sampled_from(["", "x", 1.5, frozenset({1})])
VALUES = (
    PLAIN
    | st.lists(PLAIN, max_size=2)
    | st.dictionaries(st.sampled_from("ab"), PLAIN, max_size=2)
    | st.sets(st.integers(0, 3), max_size=2)
    | st.tuples(PLAIN, st.lists(PLAIN, max_size=2))
)
READS: dict[str, Callable[[State[Any, Any], Any], Any]] = {
    "getitem": lambda state, key: state[key],
    "get": lambda state, key: state.get(key),
    "setdefault": lambda state, key: state.setdefault(key, []),
    "values": lambda state, key: next(value for own, value in zip(state, state.values(), strict=True) if own == key),
    "items": lambda state, key: next(value for own, value in state.items() if own == key),
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


class StateMachine(RuleBasedStateMachine):
    """A state behaves as a dict; what it gives as changed, put together, is that dict; undo brings back the old one."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[Any, Any] | None = None

    @initialize(data=st.dictionaries(KEYS, VALUES, max_size=3))
    def start(self, data: dict[Any, Any]) -> None:
        self.model = copy.deepcopy(data)
        self.saved = copy.deepcopy(data)
        self.state: FastestState[Any, Any] = State(data)

    def known(self, data: st.DataObject) -> Any:
        return data.draw(st.sampled_from(list(self.model)))

    @rule(key=KEYS, value=VALUES)
    def set_value(self, key: Any, value: Any) -> None:
        self.model[key] = copy.deepcopy(value)
        self.state[key] = value

    @rule(new=st.dictionaries(KEYS, VALUES, max_size=3), pairs=st.booleans())
    def update(self, new: dict[Any, Any], pairs: bool) -> None:
        self.model.update(copy.deepcopy(new))
        self.state.update(new.items() if pairs else new)

    @rule(value=VALUES)
    def update_by_name(self, value: Any) -> None:
        self.model.update(a=copy.deepcopy(value))
        self.state.update(a=value)

    @rule(key=KEYS)
    def read(self, key: Any) -> None:
        assert (key in self.state) == (key in self.model)
        assert self.state.get(key, "default") == self.model.get(key, "default")
        if key not in self.model:
            with pytest.raises(KeyError):
                self.state[key]

    @rule(key=KEYS, item=st.integers(0, 3))
    def set_default_and_change(self, key: Any, item: int) -> None:
        change_in_place(self.model.setdefault(key, []), item)
        change_in_place(self.state.setdefault(key, []), item)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), item=st.integers(0, 3), read=st.sampled_from(sorted(READS)))
    def change(self, data: st.DataObject, item: int, read: str) -> None:
        key = self.known(data)
        change_in_place(self.model[key], item)
        change_in_place(READS[read](self.state, key), item)

    @rule(key=KEYS)
    def delete(self, key: Any) -> None:
        if key in self.model:
            del self.model[key]
            del self.state[key]
        else:
            with pytest.raises(KeyError):
                del self.state[key]

    @rule(key=KEYS)
    def pop(self, key: Any) -> None:
        assert self.state.pop(key, "none") == self.model.pop(key, "none")

    @precondition(lambda self: self.model)
    @rule()
    def pop_item(self) -> None:
        key, value = self.state.popitem()
        assert self.model.pop(key) == value

    @rule()
    def clear(self) -> None:
        self.model.clear()
        self.state.clear()

    @precondition(lambda self: self.before is None)
    @rule()
    def take_changes(self) -> None:
        present, gone = self.state.take_changes()
        assert not present.keys() & set(gone)
        self.saved.update(copy.deepcopy(present))
        for key in gone:
            self.saved.pop(key, None)
        assert self.saved == self.model
        assert not self.state.is_changed
        assert self.state.take_changes() == ({}, [])

    @precondition(lambda self: self.before is None)
    @rule()
    def begin_undo(self) -> None:
        self.before = copy.deepcopy(self.model)
        self.state.begin_undo()

    @precondition(lambda self: self.before is not None)
    @rule()
    def undo(self) -> None:
        assert self.before is not None
        self.model, self.before = self.before, None
        self.state.undo()

    @precondition(lambda self: self.before is not None)
    @rule()
    def end_undo(self) -> None:
        self.before = None
        self.state.end_undo()

    @rule(key=KEYS)
    def contains(self, key: Any) -> None:
        assert (key in self.state) == (key in self.model)

    @rule(keys=st.lists(KEYS, max_size=4), kind=st.sampled_from([list, tuple, iter, dict.fromkeys]))
    def tally(self, keys: list[Any], kind: Callable[[list[Any]], Any]) -> None:
        keys = [key for key in keys if isinstance(self.model.get(key, 0), int)]
        for key in kind(keys):
            self.model[key] = self.model.get(key, 0) + 1
        self.state.tally(kind(keys))

    @rule(keys=st.lists(KEYS, max_size=4), read=st.sampled_from(sorted(READS)))
    def tally_what_is_read_meanwhile(self, keys: list[Any], read: str) -> None:
        keys = [key for key in keys if isinstance(self.model.get(key, "none"), int)]
        self.state.tally(key for key in keys if isinstance(READS[read](self.state, key), int))
        for key in keys:
            self.model[key] += 1

    @rule()
    def tally_while_it_is_read(self) -> None:
        numbers = [key for key, value in self.model.items() if isinstance(value, int)]
        for key in self.state:
            if key in numbers and self.state[key] is not None:
                self.state.tally([key])
        for key in numbers:
            self.model[key] += 1

    @rule()
    def look(self) -> None:
        """Not after each step: what is tallied is settled when somebody looks."""
        assert self.state.view() == self.model
        assert len(self.state) == len(self.model)
        assert list(self.state) == list(self.state.keys())
        assert set(self.state) == set(self.model)

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.look()


def test_behaves_as_a_dict_that_knows_its_changes() -> None:
    run_state_machine_as_test(StateMachine)


def test_a_default_may_be_named() -> None:
    assert State({"a": 1}).get("b", default=2) == 2
    wrong: list[tuple[Any, ...]] = [(), ("a", 1, 2)]
    for arguments in wrong:
        with pytest.raises(TypeError):
            State().get(*arguments)
    with pytest.raises(TypeError):
        State().get("a", other=2)  # type: ignore[call-overload]


@pytest.mark.parametrize("read", sorted(READS))
@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, (1, [2]), bytearray(b"x")])
def test_reading_what_can_change_marks_it(read: str, value: Any) -> None:
    state: State[str, Any] = State({"k": value, "other": 1})
    READS[read](state, "k")
    assert state.take_changes() == ({"k": value}, [])


@pytest.mark.parametrize("read", sorted(READS))
@pytest.mark.parametrize("value", [None, 1, 1.5, "x", b"y", True, frozenset({1})])
def test_reading_what_cannot_change_marks_nothing(read: str, value: Any) -> None:
    state: State[str, Any] = State({"k": value})
    READS[read](state, "k")
    assert not state.is_changed


def test_looking_without_values_marks_nothing() -> None:
    state = State({"k": [1]})
    assert ("k" in state, list(state), len(state), "k" in state.keys(), state.view()["k"]) == (  # noqa: SIM118
        True,
        ["k"],
        1,
        True,
        [1],
    )
    assert repr(state) == "State({'k': [1]})"
    assert not state.is_changed


def test_a_key_that_came_and_went_is_gone() -> None:
    state: State[str, int] = State({"a": 1})
    state["b"] = 1
    del state["b"]
    del state["a"]
    present, gone = state.take_changes()
    assert (present, sorted(gone)) == ({}, ["a", "b"])


def test_undo_without_begin_changes_nothing() -> None:
    state: State[str, int] = State()
    state["a"] = 1
    state.undo()
    assert state.view() == {"a": 1}


def test_what_was_undone_does_not_change_later() -> None:
    state: State[str, list[int]] = State({"k": [1]})
    state.begin_undo()
    kept = state["k"]
    kept.append(2)
    state.undo()
    kept.append(3)
    assert state.view() == {"k": [1]}


def test_what_is_no_number_cannot_be_tallied_and_loses_nothing() -> None:
    state = State[str, Any]({"a": 1, "b": "text"})
    state.tally(["a", "a", "b"])
    for _ in range(2):
        with pytest.raises(TallyError, match="key 'b' was tallied, but its value is of type str"):
            state.take_changes()  # never without what was tallied
    del state._data["b"]
    assert state.view() == {"a": 3, "b": 1}


def test_what_is_no_number_can_be_undone() -> None:
    state = State[str, Any]({"a": 1, "b": "text"})
    state.tally(["a"])
    state.begin_undo()
    state.tally(["a", "b"])
    with pytest.raises(TallyError):
        state.get("b")
    state.undo()
    assert state.view() == {"a": 2, "b": "text"}


@pytest.mark.parametrize("undoing", [False, True])
def test_keys_are_taken_before_they_are_tallied(undoing: bool) -> None:
    state = State[str, int]()
    if undoing:
        state.begin_undo()
    state.tally(key for key in "aaaaa" if state.get(key, 0) < 3)
    state.tally(key for key in ["a", "b"] if len(state) < 2)
    state.end_undo()
    assert state.take_changes() == ({"a": 6, "b": 1}, [])


@pytest.mark.parametrize("undoing", [False, True])
def test_what_cannot_be_a_key_is_not_tallied(undoing: bool) -> None:
    state = State[Any, int]()
    if undoing:
        state.begin_undo()
    with pytest.raises(TypeError):
        state.tally(["a", [], "b"])
    state.end_undo()
    assert state.view() == {"a": 1}  # as a loop over them would


@pytest.mark.parametrize("keys", [["a", [], "b"], ("b", "a", []), [[]]])
def test_what_cannot_be_a_key_can_be_undone(keys: Any) -> None:
    state = State[Any, int]({"a": 5})
    state.tally(["a"])
    state.begin_undo()
    with pytest.raises(TypeError):
        state.tally(keys)
    state.undo()
    assert state.view() == {"a": 6}


@pytest.mark.parametrize("settling", [False, True])
def test_what_was_listed_does_not_change_later(settling: bool) -> None:
    state = State[str, int]({"a": 5})
    keys = ["a", "b"]
    state.begin_undo()
    state.tally(keys)
    keys[:] = ["c"]
    assert not settling or state.get("a") == 6
    state.undo()
    assert state.view() == {"a": 5}


def test_what_was_undone_is_no_change() -> None:
    state = State[str, Any]({"a": [1], "b": 2})
    state.begin_undo()
    state["a"].append(2)
    state["b"] = 3
    state.tally(["c", "b"])
    assert state.get("c") == 1
    assert len(state) == 3
    assert state.touched == 3
    state.undo()
    assert not state.is_changed


@pytest.mark.parametrize("undoing", [False, True])
def test_a_new_key_may_be_tallied_while_others_are_read(undoing: bool) -> None:
    state = State[str, int]({"a": 9, "b": 9})
    if undoing:
        state.begin_undo()
    for key in state:
        if state[key] > 5:
            state.tally(["big"])
    assert state.view() == {"a": 9, "b": 9, "big": 2}


def test_memory_is_given_back_bit_by_bit() -> None:
    state = State(dict.fromkeys(range(5), "value"))
    assert [state.free(2) for _ in range(4)] == [3, 1, 0, 0]
