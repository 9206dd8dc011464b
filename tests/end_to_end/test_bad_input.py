"""Bad input of every kind: a clear error, the right exit status, no traceback, and the stored state as it was."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from framework.testing.brokers import Broker
from tests.end_to_end.worker import exported, framework, listed

KEYS = [f"key-{number % 7}" for number in range(100)]


@pytest.fixture
def on_broker(broker: Broker) -> list[str]:
    return ["--bootstrap-servers", broker.bootstrap_servers]


@pytest.fixture
def counted(on_broker, topic, produce, tmp_path) -> list[str]:
    """The arguments of a run that has stored 100 records, and has 100 more to read."""
    name = topic()
    produce(name, KEYS)
    args = ["run", "--plugin", "keycount", "--topic", name, "--stop-at-end", *on_broker]
    done = framework(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    produce(name, KEYS)
    return args


def refused(done: subprocess.CompletedProcess[str], status: int, *texts: str) -> None:
    errors = done.stderr.partition("error: ")[2]
    assert done.returncode == status, done.stderr
    for text in texts:
        assert text in errors
    assert "Traceback" not in done.stderr
    assert len(errors.splitlines()) <= 2


@pytest.mark.parametrize(
    ("args", "status", "texts"),
    [
        (["--plugin", "keycuont"], 2, ["keycuont", "did you mean keycount"]),
        (["--plugin", "keycount", "--option", "fild=x"], 2, ["unknown option fild"]),
        (["--plugin", "sumbykey"], 2, ["field"]),
        (["--plugin", "keycount", "--codec", "jsn"], 2, ["no codec named 'jsn' (did you mean json?)"]),
        (["--plugin", "keycount", "--store", "sqlit"], 2, ["no store named 'sqlit'", "sqlite"]),
        (["--plugin", "keycount", "--key-format", "utf9"], 2, ["no format named 'utf9' (did you mean utf8?)"]),
        (["--plugin", "keycount", "--topic", "t"], 2, ["no broker is named", "KAFKA_BOOTSTRAP_SERVERS"]),
        (["--plugin", "keycount", "--input", "missing.csv"], 2, ["missing.csv"]),
        (["--plugin", "broken.py"], 2, ["broken.py", "ZeroDivisionError"]),
        (["--plugin", "old.py"], 2, ["API version 99"]),
    ],
)
def test_usage(args, status, texts, tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "old.py").write_text(
        "import framework\nclass P(framework.Processor):\n    api_version = 99\n    def process(self, *a): ..."
    )
    refused(framework("run", *args, cwd=tmp_path), status, *texts)


def test_no_broker(tmp_path):
    args = ["--plugin", "keycount", "--topic", "t", "--bootstrap-servers", "127.0.0.1:1", "--connect-timeout", "500ms"]
    done = framework("run", *args, cwd=tmp_path)
    refused(done, 4, "no broker at 127.0.0.1:1")
    assert "waiting up to" in done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.kafka
def test_no_such_topic(on_broker, topic, tmp_path):
    name = topic(1)
    args = ["--plugin", "keycount", "--topic", f"{name}x", *on_broker]
    refused(framework("run", *args, cwd=tmp_path), 4, f"no topic {name}x", f"did you mean {name}")


def test_a_state_directory_that_cannot_be_written(on_broker, topic, tmp_path):
    (tmp_path / "file").write_text("in the way")
    args = ["--plugin", "keycount", "--topic", topic(), "--stop-at-end", *on_broker]
    refused(framework("run", *args, "--state-dir", "file", cwd=tmp_path), 2, "'file' is a file")
    refused(framework("run", *args, "--state-dir", "file/state", cwd=tmp_path), 1, "choose a state directory")


def test_another_codec(counted, tmp_path):
    before = exported(tmp_path, "keycount")
    refused(framework(*counted, "--codec", "msgpack", cwd=tmp_path), 3, "codec json", "--codec json")
    assert exported(tmp_path, "keycount") == before
    assert {unit["epoch"] for unit in listed(tmp_path)} == {1}


@pytest.mark.parametrize("migrates", [False, True])
def test_another_state_version(migrates, on_broker, topic, produce, tmp_path):
    name = topic()
    produce(name, KEYS)
    args = ["run", "--plugin", "versions.py", "--topic", name, "--stop-at-end", *on_broker]
    source = (
        "import framework\n"
        "class Versions(framework.Processor):\n"
        "    api_version = 1\n"
        "    state_version = {version}\n"
        "    def process(self, record, state, out):\n"
        "        state[record.key] = state.get(record.key, 0) + 1\n"
    )
    migrate = "    @classmethod\n    def migrate(cls, state, from_version):\n        for key in state:\n"
    migrate += "            state[key] *= 1000\n"
    (tmp_path / "versions.py").write_text(source.format(version=1))
    assert framework(*args, cwd=tmp_path).returncode == 0
    before = exported(tmp_path, "versions")
    (tmp_path / "versions.py").write_text(source.format(version=2) + (migrate if migrates else ""))
    done = framework(*args, cwd=tmp_path)
    if migrates:
        assert done.returncode == 0, done.stderr
        assert exported(tmp_path, "versions") == {key: count * 1000 for key, count in before.items()}
        (tmp_path / "versions.py").write_text(source.format(version=1))
        refused(framework(*args, cwd=tmp_path), 3, "state_version 2", "install the newer plugin")
    else:
        refused(done, 3, "state_version 1", "no migrate()")
        assert exported(tmp_path, "versions") == before


@pytest.mark.kafka
def test_another_partition_count(on_broker, broker, topic, produce, tmp_path):
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewPartitions

    name = topic(2)
    produce(name, KEYS)
    args = ["run", "--plugin", "keycount", "--topic", name, "--stop-at-end", *on_broker]
    assert framework(*args, cwd=tmp_path).returncode == 0
    before = exported(tmp_path, "keycount")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_partitions([NewPartitions(name, 3)])[name].result(30)
    refused(framework(*args, cwd=tmp_path), 3, "2 partitions", "has 3 now", "--group")
    assert exported(tmp_path, "keycount") == before


@pytest.mark.parametrize("damage", ["cut", "flip"])
@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_a_damaged_state_file(damage, codec, on_broker, topic, produce, tmp_path):
    name = topic()
    produce(name, KEYS)
    args = ["run", "--plugin", "keycount", "--topic", name, "--store", "file", "--codec", codec, "--stop-at-end"]
    assert framework(*args, *on_broker, cwd=tmp_path).returncode == 0
    file = max(tmp_path.rglob(f"*.{codec}"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[-5] ^= 4
    file.write_bytes(data)
    refused(framework(*args, *on_broker, cwd=tmp_path), 3, file.name)
    assert file.read_bytes() == data


def test_a_key_that_is_not_utf8(on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    produce(name, ["a", b"\xff\xfe", "a"], partitions=0)
    args = ["run", "--plugin", "keycount", "--topic", name, "--stop-at-end", *on_broker]
    refused(framework(*args, cwd=tmp_path), 1, f"{name}-0 offset 1: the key is not utf8", "--key-format")
    assert exported(tmp_path, "keycount") == {(0, "a"): 1}
    refused(framework(*args, cwd=tmp_path), 1, f"{name}-0 offset 1")
    done = framework(*args, "--on-error", "skip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "keycount") == {(0, "a"): 2}


def test_a_plugin_that_fails_in_process(on_broker, topic, produce, tmp_path):
    name = topic()
    produce(name, ["a", "b", "bad", "c"], partitions=0)
    (tmp_path / "fails.py").write_text(
        "import framework\n"
        "class Fails(framework.Processor):\n"
        "    api_version = 1\n"
        "    def process(self, record, state, out):\n"
        "        state.setdefault('seen', []).append(record.key)\n"
        "        if record.key == 'bad': raise ValueError('not this one')\n"
    )
    args = ["run", "--plugin", "fails.py", "--topic", name, "--stop-at-end", *on_broker]
    for _ in range(2):
        refused(framework(*args, cwd=tmp_path), 1, f"{name}-0 offset 2", "'bad'", "ValueError: not this one")
        assert exported(tmp_path, "fails") == {(0, "seen"): ["a", "b"]}
    assert framework(*args, "--on-error", "skip", cwd=tmp_path).returncode == 0
    assert exported(tmp_path, "fails") == {(0, "seen"): ["a", "b", "c"]}


def test_a_value_that_the_codec_cannot_hold(on_broker, topic, produce, tmp_path):
    name = topic()
    produce(name, ["a"], partitions=0)
    (tmp_path / "holds.py").write_text(
        "import collections, framework\n"
        "class Holds(framework.Processor):\n"
        "    api_version = 1\n"
        "    def process(self, record, state, out):\n"
        "        state[record.key] = collections.Counter()\n"
    )
    args = ["run", "--plugin", "holds.py", "--topic", name, "--stop-at-end", *on_broker]
    refused(framework(*args, cwd=tmp_path), 1, "plugin holds", "key 'a'", "Counter")
    assert exported(tmp_path, "holds") == {}


@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_a_full_disk(store, on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    args = ["run", "--plugin", "keycount", "--topic", name, "--store", store, "--stop-at-end", *on_broker]
    produce(name, KEYS)
    assert framework(*args, cwd=tmp_path).returncode == 0
    before = exported(tmp_path, "keycount", "--store", store)
    produce(name, [f"{number:0100}" for number in range(20_000)])
    done = _with_small_disk(args, tmp_path)
    refused(done, 1, "state")
    assert exported(tmp_path, "keycount", "--store", store) == before
    done = framework(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(exported(tmp_path, "keycount", "--store", store).values()) == 20_100


def _with_small_disk(args: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run where no file may grow beyond 200 kB."""
    return subprocess.run(
        [sys.executable, "-m", "framework", *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )
