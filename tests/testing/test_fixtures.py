"""The pytest plugin, as an author of plugins uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

COUNT = """
from framework import Processor

class Count(Processor):
    api_version = 1

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + 1
        out.send("seen", b"", key=record.key)
"""


@pytest.fixture
def count(pytester: pytest.Pytester) -> Path:
    pytester.makefile(".tsv", names="ann\t1\nbob\t2\nann\t3\n")
    return pytester.makefile(".py", plugin_of_the_author=COUNT)


def test_a_run_gives_its_state_and_its_messages(pytester: pytest.Pytester, count: Path) -> None:
    pytester.makepyfile(
        f"""
        def test_counts(framework_run):
            run = framework_run("--plugin", "{count}", "--input", "names.tsv", "--topic", "names", "--stop-at-end")
            assert run.status == 0
            assert "ann" in run.stdout
            counts = {{entry["key"]: entry["value"] for entry in run.state("plugin_of_the_author")}}
            assert counts == {{"ann": 2, "bob": 1}}

        def test_another_status(framework_run):
            assert "nowhere" in framework_run("--plugin", "nowhere", status=2).stderr
            assert framework_run("--plugin=nowhere", "--store=memory", status=None).status == 2
        """
    )
    pytester.runpytest_inprocess("-q", "-p", "no:asyncio").assert_outcomes(passed=2)


def test_a_run_that_fails_tells_its_messages(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(framework_run): framework_run('--plugin', 'nowhere')")
    result = pytester.runpytest_inprocess("-q", "-p", "no:asyncio")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*framework run --plugin nowhere * ended with 2, not 0:*"])


def test_an_embedded_broker_takes_and_gives_records(pytester: pytest.Pytester, count: Path) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        def test_outputs(framework_run, embedded_broker):
            embedded_broker.produce("names", [("ann", b"1"), ("bob", "2"), (None, None)])
            framework_run(
                "--plugin", "{count}", "--topic", "names",
                "--bootstrap-servers", embedded_broker.bootstrap_servers, "--stop-at-end",
            )
            assert sorted(record.key for record in embedded_broker.read("seen") if record.key) == [b"ann", b"bob"]
            with pytest.raises(TypeError, match="takes a number of partitions"):
                embedded_broker.create_topic("names")
        """
    )
    pytester.runpytest_inprocess("-q", "-p", "no:asyncio").assert_outcomes(passed=1)


@pytest.mark.parametrize(("required", "outcome"), [("0", "skipped"), ("1", "errors")])
def test_without_a_kafka_its_tests_are_skipped_or_fail(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str, outcome: str
) -> None:
    monkeypatch.setenv("FRAMEWORK_REQUIRE_KAFKA", required)
    monkeypatch.setenv("FRAMEWORK_TEST_BROKER", "embedded")
    pytester.makepyfile("def test_it(kafka_broker): pass")
    pytester.runpytest_inprocess("-q", "-p", "no:asyncio").assert_outcomes(**{outcome: 1})


@pytest.mark.kafka
def test_a_kafka_is_there(kafka_broker) -> None:
    assert kafka_broker.real
    topic = kafka_broker.create_topic(2)
    assert kafka_broker.produce(topic, [("ann", b"1")], partition=1) == [(1, 0)]
    assert [(record.partition, record.key, record.value) for record in kafka_broker.read(topic)] == [(1, b"ann", b"1")]


def test_pytest_loads_nothing_that_takes_long(tmp_path: Path) -> None:
    script = (
        "import sys, pytest; pytest.main(['--collect-only', '--quiet', '-p', 'no:cacheprovider']); print([name for name"
        " in ('framework.testing.fixtures', 'aiokafka', 'confluent_kafka', 'framework.runner') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.splitlines()[-1] == "['framework.testing.fixtures']"
