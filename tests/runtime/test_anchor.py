"""The anchor's checksum."""

from framework import Record
from framework.runtime.anchor import checksum_of

RECORD: Record = Record("topic", 0, 9, 1000, b"a", b"v")


def test_checksums_tell_keys_from_values_and_nothing_from_empty():
    parts = [(None, None), (b"", None), (None, b""), (b"", b""), (b"a", b"b"), (b"ab", b""), (b"", b"ab"), (b"b", b"a")]
    assert len({checksum_of(RECORD._replace(key=key, value=value)) for key, value in parts}) == len(parts)


def test_a_checksum_is_of_key_and_value_alone_and_the_same_in_every_process():
    assert checksum_of(RECORD) == checksum_of(Record("other", 3, 4, 5, b"a", b"v", (("name", b""),)))
    assert checksum_of(RECORD) == 952998539
