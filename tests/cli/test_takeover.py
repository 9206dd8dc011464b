import json
import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from framework.changes import fold_rows
from framework.cli.main import cli
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.embedded.broker import EmbeddedBroker
from framework.plugins import load
from framework.stores import Description, Progress, StoredUnit, Unit
from framework.testing.brokers.traffic import make_topic_by_asking

STORES = ("sqlite", "file")
CODECS = {"json": JsonCodec(), "msgpack": MsgpackCodec()}

PLUGIN = """
import framework

class Count(framework.Processor):
    api_version = 1
    name = "keycount"
    state_version = 3

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + 1
"""


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("counter.py").write_text(PLUGIN)


@pytest.fixture(params=STORES)
def store_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def seed(source: str, last_offset: int, **counts: int) -> None:
    Path(f"my-partition-state-{source}.json").write_text(json.dumps({"last_offset": last_offset, "counts": counts}))


def take_over(*args: str) -> Result:
    arguments = ["state", "import", "--from-seed", "my-*.json", "--plugin", "counter.py", "--group", "g", *args]
    return CliRunner().invoke(cli, arguments)


def contents(store_name: str, codec: str = "json") -> dict[Unit, tuple[StoredUnit, dict[str, int]]]:
    store = load([]).open_store(f"{store_name}:state", {}, read_only=True)
    with closing(store):
        return {
            stored.unit: (stored, fold_rows(CODECS[codec], (row for _, row in store.load(stored.unit))))
            for stored in store.stored("g")
        }


@pytest.mark.parametrize("codec", CODECS)
def test_takes_over_every_partition(store_name: str, codec: str) -> None:
    seed("my-test-0", 4, **{"123123": 1, "4444": 1, "321": 2, "5555": 1})
    seed("my-test-2", 0, a=1)
    result = take_over("--store", store_name, "--codec", codec, "--partitions", "3")
    assert result.exit_code == 0, result.stderr
    taken = contents(store_name, codec)
    first, second = (Unit("g", "keycount", "my-test", partition) for partition in (0, 2))
    assert list(taken) == [first, second]
    stored, counts = taken[first]
    assert counts == {"123123": 1, "4444": 1, "321": 2, "5555": 1}
    assert (stored.own_progress, stored.keys) == (Progress(4, 5), 4)
    assert stored.description == Description(codec, 3, 3, None)
    assert taken[second][1] == {"a": 1}
    assert [row.split()[:5] for row in result.stdout.splitlines()[1:]] == [
        ["my-test", "0", "keycount", "4", "4"],
        ["my-test", "2", "keycount", "0", "1"],
    ]


def test_says_how_to_go_on(store_name: str) -> None:
    seed("test-0", 4, a=5)
    result = take_over("--store", store_name, "--partitions", "1")
    command = shlex.split(result.stderr.partition("go on with: ")[2])
    assert command[:2] == ["framework", "run"]
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options == {
        "--plugin": "counter.py",
        "--group": "g",
        "--topic": "test",
        "--store": f"{store_name}:state",
        "--codec": "json",
    }


def test_the_empty_key_stays_and_is_warned_of() -> None:
    seed("test-0", 4, **{"": 2, "a": 3})
    result = take_over("--partitions", "1")
    assert "warning: the example counts records without a key as those with an empty one" in result.stderr
    assert [counts for _, counts in contents("sqlite").values()] == [{"": 2, "a": 3}]

    seed("other-0", 4, a=5)
    assert "warning" not in take_over("--partitions", "1", "--topic", "other").stderr


def test_partitions_without_a_record_are_left_out() -> None:
    seed("test-0", -1)
    result = take_over("--partitions", "2")
    assert result.exit_code == 2
    assert "nothing to take over" in result.stderr
    seed("test-1", 4, a=5)
    assert take_over("--partitions", "2").exit_code == 0
    assert [unit.partition for unit in contents("sqlite")] == [1]


def test_only_the_topics_asked_for() -> None:
    seed("a-0", 4, a=5)
    seed("b-0", 4, a=5)
    assert take_over("--topic", "b", "--partitions", "1").exit_code == 0
    assert [unit.topic for unit in contents("sqlite")] == ["b"]


def test_one_bad_file_and_nothing_is_written(store_name: str) -> None:
    seed("test-0", 4, a=5)
    Path("my-partition-state-test-1.json").write_text('{"last_offset": 4, "cou')
    result = take_over("--store", store_name, "--partitions", "2")
    assert result.exit_code == 2
    assert "my-partition-state-test-1.json" in result.stderr
    assert not Path("state").exists()


def test_a_partition_that_the_topic_does_not_have() -> None:
    seed("test-5", 4, a=5)
    result = take_over("--partitions", "5")
    assert result.exit_code == 2
    assert "my-partition-state-test-5.json is of partition 5, but test has 5 partitions" in result.stderr
    assert not Path("state").exists()


def test_state_that_is_there_stays(store_name: str) -> None:
    seed("test-1", 4, a=5)
    assert take_over("--store", store_name, "--partitions", "2").exit_code == 0
    before = contents(store_name)
    seed("test-0", 9, a=7)
    seed("test-1", 9, a=10)
    result = take_over("--store", store_name, "--partitions", "2")
    assert result.exit_code == 3
    assert "test-1 (group g) has state already, up to offset 4; nothing was taken over" in result.stderr
    assert contents(store_name) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "name your Kafka with --bootstrap-servers, or give --partitions N"),
        (["--partitions", "1", "--store", "memory"], "store memory keeps nothing"),
        (["--partitions", "1", "--codec", "jsn"], "no codec named 'jsn'"),
        (["--partitions", "1", "--topic", "x"], "is of topic x; there are files of test"),
        (["--partitions", "1", "--plugin", "none.py"], "none.py"),
    ],
)
def test_what_cannot_be_done_is_refused(args: list[str], message: str) -> None:
    seed("test-0", 4, a=5)
    result = take_over(*args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not Path("state").exists()


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def test_asks_kafka_for_the_partitions(embedded: EmbeddedBroker) -> None:
    topic = make_topic_by_asking(embedded.bootstrap_servers)
    seed(f"{topic}-3", 4, a=5)
    result = take_over("--bootstrap-servers", embedded.bootstrap_servers)
    assert result.exit_code == 0, result.stderr
    ((stored, _),) = contents("sqlite").values()
    assert stored.description == Description("json", 3, 4, embedded.cluster_id)


def test_a_topic_that_kafka_does_not_have(embedded: EmbeddedBroker) -> None:
    seed("nowhere-0", 4, a=5)
    result = take_over("--bootstrap-servers", embedded.bootstrap_servers)
    assert result.exit_code == 4
    assert "there is no topic nowhere" in result.stderr
    assert not Path("state").exists()


def test_a_kafka_that_is_not_there() -> None:
    seed("test-0", 4, a=5)
    result = take_over("--bootstrap-servers", "127.0.0.1:1", "--connect-timeout", "0")
    assert result.exit_code == 4
    assert "no broker at 127.0.0.1:1" in result.stderr
