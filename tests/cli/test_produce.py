import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from framework.embedded.broker import PARTITIONS, EmbeddedBroker, PatientAssignor
from framework.embedded.feed import Feed
from framework.embedded.inputs import Input
from framework.testing.brokers import Broker
from framework.testing.brokers.traffic import read_topic

CSV = "user,amount\nann,1\nbob,2\nann,3\n"
SIXTEEN_MEGABYTES = 16_000_000


@pytest.fixture
def servers() -> Iterator[str]:
    with EmbeddedBroker() as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def csv_file(tmp_path: Path) -> str:
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    return str(path)


@pytest.fixture
def large_file(tmp_path: Path) -> str:
    path = tmp_path / "large.tsv"
    line = "x" * 985
    path.write_text("".join(f"key{number % 50:02}\t{line}\n" for number in range(SIXTEEN_MEGABYTES // 991)))
    return str(path)


def produce(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "framework", "produce", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, **variables},
    )


def test_a_file_is_sent_with_its_keys(servers: str, csv_file: str) -> None:
    done = produce(csv_file, "--topic", "t", "--key", "user", "--bootstrap-servers", servers)
    assert done.returncode == 0
    assert done.stdout == ""
    assert f"to topic t, {PARTITIONS} partitions, at the embedded broker {servers}" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("sent 3 records, ")
    records = read_topic(servers, "t", committed=False)
    assert sorted((record.key, record.value) for record in records) == [
        (b"ann", b'{"user":"ann","amount":"1"}'),
        (b"ann", b'{"user":"ann","amount":"3"}'),
        (b"bob", b'{"user":"bob","amount":"2"}'),
    ]


def test_a_file_with_another_delimiter_and_encoding(servers: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("stadt;größe\nKöln;1\n", encoding="utf-16")
    arguments = [str(path), "--topic", "t", "--key", "stadt", "--bootstrap-servers", servers]
    assert "--input-encoding utf-16" in produce(*arguments).stderr
    assert produce(*arguments, "--input-encoding", "utf-16", "--input-delimiter", ";").returncode == 0
    (record,) = read_topic(servers, "t", committed=False)
    assert (record.key, record.value) == ("Köln".encode(), '{"stadt":"Köln","größe":"1"}'.encode())


@pytest.mark.parametrize("variable", ["KAFKA_BOOTSTRAP_SERVERS", "FRAMEWORK_BOOTSTRAP_SERVERS"])
def test_standard_input_and_json(servers: str, variable: str) -> None:
    done = produce("-", "--topic", "t", "--json", stdin="a\t1\nno key\n", **{variable: servers})
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["topic"] == "t"
    assert result["records"] == 2
    assert sum(result["end_offsets"].values()) == 2
    assert {record.key for record in read_topic(servers, "t", committed=False)} == {b"a", None}


def test_ctrl_c_ends_it_while_it_waits_for_input(servers: str) -> None:
    command = [sys.executable, "-m", "framework", "produce", "-", "--topic", "t", "--bootstrap-servers", servers]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        process.stdin.write("key\tvalue\n")
        process.stdin.flush()
        while not read_topic(servers, "t", committed=False):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr
        said = process.stderr.read().splitlines()
    assert [line.split()[0] for line in said if line] == ["sending", "sent"]


def test_a_large_file_stops_before_a_loss_while_nobody_reads(servers: str, large_file: str) -> None:
    done = produce(large_file, "--topic", "t", "--bootstrap-servers", servers)
    assert done.returncode == 1
    assert "error: topic t, partition" in done.stderr
    assert "--group" in done.stderr
    kept = read_topic(servers, "t", committed=False)
    assert f"sent {len(kept):,} records" in done.stderr
    assert {record.partition for record in kept if record.offset == 0} == {record.partition for record in kept}


async def test_a_large_file_keeps_pace_with_a_group(servers: str, large_file: str) -> None:
    """The group commits what it has read, as a worker does after each checkpoint."""
    consumer = AIOKafkaConsumer(
        "t",
        bootstrap_servers=servers,
        group_id="g",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=(PatientAssignor,),
    )
    await consumer.start()
    arguments = (large_file, "--topic", "t", "--group", "g", "--bootstrap-servers", servers, "--json")
    sending = asyncio.create_task(asyncio.to_thread(produce, *arguments))
    keys: dict[bytes, int] = {}
    count = SIXTEEN_MEGABYTES // 991
    while sum(keys.values()) < count and not (sending.done() and sending.result().returncode):
        for rows in (await consumer.getmany(timeout_ms=200)).values():
            for row in rows:
                keys[row.key] = keys.get(row.key, 0) + 1
        await consumer.commit()
    done = await sending
    await consumer.stop()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] == count
    assert keys == {b"key%02d" % number: len(range(number, count, 50)) for number in range(50)}


def test_a_topic_that_has_lost_records_is_told(servers: str, large_file: str, csv_file: str) -> None:
    asyncio.run(Feed("t", {"bootstrap_servers": servers}).run(Input(large_file)))
    done = produce(csv_file, "--topic", "t", "--group", "g", "--bootstrap-servers", servers)
    assert done.returncode == 1
    assert "error: topic t has lost records" in done.stderr


def test_bad_lines_end_it(servers: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.ndjson"
    path.write_text('{"k": "a"}\n{"k": \n')
    done = produce(str(path), "--topic", "t", "--key", "k", "--bootstrap-servers", servers)
    assert done.returncode == 2
    assert f"error: {path}, line 2: not one JSON document" in done.stderr


def test_usage_errors(servers: str, csv_file: str) -> None:
    unnamed = produce(csv_file, "--topic", "t")
    assert unnamed.returncode == 2
    assert unnamed.stderr.startswith("error: no broker is named to send t to; use --bootstrap-servers HOST:PORT")
    missing = produce("none.csv", "--topic", "t", "--bootstrap-servers", servers)
    assert missing.returncode == 2
    assert missing.stderr == "error: cannot read none.csv: No such file or directory\n"
    created = produce(csv_file, "--topic", "t", "--create", "3", "--bootstrap-servers", servers)
    assert created.returncode == 2
    assert created.stderr.startswith("error: the embedded broker makes each topic itself")


def test_a_broker_that_is_not_there(csv_file: str) -> None:
    broker = EmbeddedBroker()
    broker.close()
    done = produce(
        csv_file, "--topic", "t", "--bootstrap-servers", broker.bootstrap_servers, "--connect-timeout", "100ms"
    )
    assert done.returncode == 4
    assert f"error: no broker at {broker.bootstrap_servers}" in done.stderr


@pytest.mark.kafka
def test_on_kafka_a_topic_must_be_there_or_asked_for(broker: Broker, csv_file: str) -> None:
    arguments = (csv_file, "--topic", "produce-test", "--bootstrap-servers", broker.bootstrap_servers)
    missing = produce(*arguments)
    assert missing.returncode == 4
    assert "there is no topic produce-test" in missing.stderr
    assert produce(*arguments, "--create", "3").returncode == 0
    again = produce(*arguments, "--create", "3", "--json")
    assert again.returncode == 0
    assert sum(json.loads(again.stdout)["end_offsets"].values()) == 6
    assert len(read_topic(broker.bootstrap_servers, "produce-test")) == 6
