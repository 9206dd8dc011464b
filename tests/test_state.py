from collections.abc import MutableMapping
from typing import Any

import pytest

from framework.state import State
from framework.table import PlainTable, Table


def test_a_plugin_sees_a_mapping_that_can_tally_and_nothing_of_the_runtime() -> None:
    assert {name for name in dir(State) if name[0] != "_"} == {
        *(n for n in dir(MutableMapping) if n[0] != "_"),
        "tally",
    }


def test_only_an_engine_can_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        State()  # type: ignore[abstract]


@pytest.mark.parametrize("engine", [PlainTable, Table])
def test_each_engine_is_a_state(engine: Any) -> None:
    assert issubclass(engine, State)
    assert engine({"a": 1}) == {"a": 1} == engine({"a": 1})
    assert engine.__hash__ is None
