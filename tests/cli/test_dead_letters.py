"""`framework dead-letters` on the embedded broker."""

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import aiokafka
import pytest
from aiokafka import AIOKafkaConsumer
from click.testing import CliRunner, Result

from framework import Record
from framework.cli.main import cli
from framework.dead_letters import REPLAY_HEADER, to_dead_letter
from framework.embedded.broker import EmbeddedBroker
from framework.kafka.sink import KafkaSink
from framework.output import OutputRecord
from framework.testing.brokers.traffic import make_topic_by_asking, read_topic

_SECONDS = itertools.count()
"""Each dead letter here is of another second."""


@pytest.fixture
def servers() -> Iterator[str]:
    with EmbeddedBroker() as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def source(servers: str) -> str:
    return make_topic_by_asking(servers)


@pytest.fixture
def dead(servers: str) -> str:
    return make_topic_by_asking(servers)


def invoke(command: str, *args: str) -> Result:
    return CliRunner().invoke(cli, ["dead-letters", command, *args])


def send(servers: str, outputs: Sequence[OutputRecord]) -> None:
    async def send() -> None:
        sink = KafkaSink({"bootstrap_servers": servers})
        for output in outputs:
            await sink.send([output])
            await sink.flushed()
        await sink.stop()

    asyncio.run(send())


def letter(
    dead: str,
    source: str,
    offset: int,
    *,
    key: bytes | None = b"key",
    value: bytes | None = b"value",
    partition: int = 0,
    plugin: str = "p",
) -> OutputRecord:
    record = Record(source, partition, offset, 1_700_000_000_000 + offset, key, value, (("mine", b"x"),))
    output = to_dead_letter(dead, record, plugin, ValueError(f"no good\nat {offset}"))
    time = f"2024-05-01T12:00:{next(_SECONDS):06.3f}+00:00".encode()
    return replace(output, headers=(*output.headers[:-1], (output.headers[-1][0], time)))


def test_the_list_is_a_table_with_the_latest_last(servers: str, source: str, dead: str) -> None:
    letters = [letter(dead, source, offset, key=key) for offset, key in ((5, b"ann"), (2, None), (9, b"\xff"))]
    send(servers, [*letters, letters[0], OutputRecord(dead, b"no", b"dead letter", ())])
    done = invoke("list", "--topic", dead, "--bootstrap-servers", servers)
    assert done.exit_code == 0, done.output
    head, *rows = (line.split() for line in done.stdout.splitlines())
    assert head == ["topic", "partition", "offset", "plugin", "time", "key", "error"]
    assert [row[:4] for row in rows] == [[source, "0", offset, "p"] for offset in ("5", "2", "9")]
    assert [row[5] for row in rows] == ["ann", "null", r"b'\xff'"]
    assert rows[0][6:] == ["ValueError:", "no", "good", "at", "5"]
    assert f"3 dead letters in topic {dead}; left out: 1 repeats, 1 records that are no dead letters" in done.stderr


def test_top_gives_the_latest(servers: str, source: str, dead: str) -> None:
    send(servers, [letter(dead, source, offset) for offset in (7, 1, 4)])
    done = invoke("list", "--topic", dead, "--bootstrap-servers", servers, "--top", "2", "--json")
    assert [each["offset"] for each in json.loads(done.stdout)] == [1, 4]
    assert "3 dead letters" in done.stderr


def list_letters(servers: str, dead: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(
        invoke("list", "--topic", dead, "--bootstrap-servers", servers, "--json").stdout
    )
    return listed


def test_json_has_all_that_is_known(servers: str, source: str, dead: str) -> None:
    assert list_letters(servers, dead) == []
    send(servers, [letter(dead, source, 5, partition=3, key=b"\xff")])
    (each,) = list_letters(servers, dead)
    assert each.pop("time")
    assert each == {
        "plugin": "p",
        "topic": source,
        "partition": 3,
        "offset": 5,
        "timestamp": 1_700_000_000_005,
        "key": {"$bytes": "/w=="},
        "error": "ValueError",
        "message": "no good\nat 5",
    }


def test_a_replay_goes_back_to_the_partition_and_is_remembered(servers: str, source: str, dead: str) -> None:
    replay = ("replay", "--topic", dead, "--bootstrap-servers", servers)
    send(servers, [letter(dead, source, 1, partition=3), letter(dead, source, 1, partition=3, plugin="another")])
    done = invoke(*replay)
    assert done.exit_code == 0, done.output
    assert f"dead letters of topic {dead} sent again: 1 to {source}; left out: 1 repeats, 0 records" in done.stderr
    assert "sent again: none" in invoke(*replay).stderr
    send(servers, [letter(dead, source, 2, partition=2)])
    assert json.loads(invoke(*replay, "--json").stdout)["sent"] == {source: 1}
    records = read_topic(servers, source, committed=False)
    assert [(each.partition, each.key, each.value, each.timestamp) for each in records] == [
        (2, b"key", b"value", 1_700_000_000_002),
        (3, b"key", b"value", 1_700_000_000_001),
    ]
    assert {tuple(name for name, _ in each.headers) for each in records} == {("mine", REPLAY_HEADER)}
    assert json.loads(invoke(*replay, "--json", "--replay-group", "another").stdout)["sent"] == {source: 2}


def test_a_letter_without_key_and_value_is_replayed_and_so_are_those_after_it(
    servers: str, source: str, dead: str
) -> None:
    first = letter(dead, source, 1, key=None, value=None, partition=1)
    send(servers, [first, letter(dead, source, 2, partition=1), letter(dead, source, 3, key=None, value=None)])
    assert [each["key"] for each in list_letters(servers, dead)] == [None, "key", None]
    target = make_topic_by_asking(servers)
    for to, group in ((), "there"), (("--to", target), "elsewhere"):
        replay = ("replay", "--topic", dead, "--bootstrap-servers", servers, *to, "--replay-group", group)
        assert json.loads(invoke(*replay, "--json").stdout)["sent"] == {target if to else source: 3}
    records = read_topic(servers, source, committed=False)
    assert sorted((each.partition, each.timestamp, each.key, each.value, len(each.headers)) for each in records) == [
        (0, 1_700_000_000_003, None, None, 2),
        (1, 1_700_000_000_001, None, None, 2),
        (1, 1_700_000_000_002, b"key", b"value", 2),
    ]
    assert len(read_topic(servers, target, committed=False)) == 3


def test_a_replay_that_fails_is_not_remembered(servers: str, source: str, dead: str) -> None:
    replay = ("replay", "--topic", dead, "--bootstrap-servers", servers)
    send(servers, [letter(dead, source, 1), letter(dead, source, 1, partition=7)])
    done = invoke(*replay)
    assert done.exit_code == 2
    assert f"came from {source}-7, and that topic has 4 partitions now" in done.stderr
    target = make_topic_by_asking(servers)
    assert invoke(*replay, "--to", target).exit_code == 0
    replayed = [each for topic in (source, target) for each in read_topic(servers, topic, committed=False)]
    sent = {dict(each.headers)[REPLAY_HEADER] for each in replayed}
    assert sent == {
        f"{dead}-{each.partition}:{each.offset}".encode() for each in read_topic(servers, dead, committed=False)
    }


def test_a_topic_that_was_re_created_is_told(servers: str, dead: str) -> None:
    async def commit() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id="framework-replay", enable_auto_commit=False)
        await consumer.start()
        partition = aiokafka.TopicPartition(dead, 0)
        consumer.assign([partition])
        await consumer.commit({partition: 10})
        await consumer.stop()

    asyncio.run(commit())
    done = invoke("replay", "--topic", dead, "--bootstrap-servers", servers)
    assert done.exit_code == 2
    assert "up to offset 10, but it ends at 0: the topic was re-created; name another --replay-group" in done.stderr


@pytest.mark.parametrize("command", ["list", "replay"])
def test_what_is_not_there_is_told(servers: str, command: str) -> None:
    assert (invoke(command).exit_code, invoke(command, "--topic", "t").exit_code) == (2, 2)
    missing = invoke(command, "--topic", "not-there", "--bootstrap-servers", servers)
    assert (missing.exit_code, "there is no topic not-there" in missing.stderr) == (4, True)


def test_a_replay_must_go_elsewhere(servers: str, dead: str) -> None:
    replay = ("replay", "--topic", dead, "--bootstrap-servers", servers)
    assert invoke(*replay, "--to", dead).exit_code == 2
    assert invoke(*replay, "--to", "not-there").exit_code == 4
