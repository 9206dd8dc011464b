from collections import Counter

from framework_keycount import KeyCount
from hypothesis import given
from hypothesis import strategies as st

from framework import Record
from framework.testing import ProcessorConformance, check_processor, run_processor

KEYS = st.none() | st.sampled_from(["", "a", "b", "None", "null"]) | st.text()


def test_records_are_counted_by_key() -> None:
    assert run_processor(KeyCount, [("a", b"1"), ("b", None), ("a", b"2")]).state == {"a": 2, "b": 1}


def test_no_key_is_not_the_empty_key() -> None:
    assert run_processor(KeyCount, [(None, b""), ("", b""), (None, b"")]).state == {None: 2, "": 1}


def test_counts_go_on_from_the_state_that_was_there() -> None:
    assert run_processor(KeyCount, [("a", b"")], state={"a": 4, "b": 1}, batches=1).state == {"a": 5, "b": 1}


@given(keys=st.lists(KEYS), size=st.integers(1, 9))
def test_batches_of_any_size_count_as_a_counter_does(keys: list[str | None], size: int) -> None:
    assert run_processor(KeyCount, [(key, b"") for key in keys], batches=size).state == Counter(keys)


@given(keys=st.lists(KEYS, min_size=1, max_size=30))
def test_it_keeps_the_contract(keys: list[str | None]) -> None:
    check_processor(KeyCount, [(key, b"") for key in keys])


def test_a_key_is_forgotten_if_the_user_says_so() -> None:
    records = [Record("test", 0, at, at * 1000, key, b"") for at, key in enumerate("aabbbbbbba")]
    assert run_processor(KeyCount, records, options={"ttl": "5s"}, batches=3).state == {"a": 1, "b": 7}
    assert run_processor(KeyCount, records, batches=3).state == {"a": 3, "b": 7}
    check_processor(KeyCount, records, options={"ttl": "5s"}, until=20_000)


class TestContract(ProcessorConformance):
    processor = KeyCount
    options = {"ttl": "5s"}
    records = [Record("t", 0, at, at * 1000, "abcdaaaa"[at % 8], b"") for at in range(40)]
