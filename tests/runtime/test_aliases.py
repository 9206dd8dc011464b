"""One container under two keys is found, and nothing else is."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import CodecError
from framework.runtime.aliases import Aliases

VALUES = st.recursive(
    st.integers() | st.text(max_size=3) | st.just(()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.integers(0, 5), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(st.integers(0, 5), max_size=3)
    ),
    max_leaves=8,
)


WRAPS = {
    "itself": lambda it: it,
    "in a list": lambda it: [it],
    "in dicts": lambda it: {"a": {"b": it}},
    "in a list in a tuple": lambda it: (1, [it]),
    "in a tuple": lambda it: (it,),
}


def refused(aliases: Aliases, table: dict[Any, Any], *keys: Any) -> bool:
    """Whether these keys of the table, written now, are refused."""
    try:
        aliases.check({key: table[key] for key in keys}, table)
    except CodecError:
        return True
    return False


def test_a_list_under_two_keys_is_named_with_both():
    shared: list[int] = []
    table = {"one": shared, "two": shared}
    with pytest.raises(CodecError, match=r"the same list object stands under the keys 'one' and 'two'.*store a copy"):
        Aliases().check(dict(table), table)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("make", [list, dict, set])
def test_it_is_found_at_any_depth_and_over_two_checkpoints(make, wrap):
    shared = make()
    table = {"one": wrap(shared), "two": "not yet"}
    aliases = Aliases()
    assert not refused(aliases, table, "one")
    table["two"] = [wrap(shared)]
    assert refused(aliases, table, "two")


def test_a_value_that_moved_to_another_key_is_no_alias():
    held: Any = [[1]]
    table: dict[Any, Any] = {"one": held}
    aliases = Aliases()
    assert not refused(aliases, table, "one")
    table["two"] = table.pop("one")
    assert not refused(aliases, table, "two")
    table["one"] = [2]
    assert not refused(aliases, table, "one", "two")


def test_a_value_that_a_plugin_keeps_is_no_alias():
    kept: list[Any] = [[1], {"a": [2]}]
    table = {"one": kept, "two": [[1], {"a": [2]}]}
    aliases = Aliases()
    assert not any(refused(aliases, table, "one", "two") for _ in range(3))


def test_a_shared_tuple_without_containers_is_no_alias():
    shared = (1, (2, "three"))
    table = {"one": shared, "two": [shared]}
    assert not refused(Aliases(), table, "one", "two")


def test_a_value_that_holds_itself_ends():
    value: list[Any] = []
    value.append([value])
    table = {"one": value, "two": [3]}
    aliases = Aliases()
    assert not refused(aliases, table, "one")
    table["two"] = [value]
    assert refused(aliases, table, "two")


def test_it_does_not_grow_with_what_is_gone():
    aliases, kept = Aliases(), []
    for number in range(5_000):
        kept.append([number])
        assert not refused(aliases, {number: kept[-1]}, number)
    assert len(aliases._keys) < 2_000


@given(st.dictionaries(st.integers(), VALUES, max_size=6))
def test_values_of_their_own_are_never_refused(table):
    copies = {key: deepcopy(value) for key, value in table.items()}
    assert not refused(Aliases(), copies, *copies)


@given(VALUES.filter(lambda value: type(value) in (list, dict, set)), VALUES)
def test_a_container_is_found_wherever_it_stands_twice(shared, other):
    table = {"one": [other, shared], "two": {"a": (shared,)}}
    assert refused(Aliases(), table, "one", "two")
