from pathlib import Path
from typing import Any

import click
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from click.testing import CliRunner

from framework.cli.options import (
    DURATION,
    TIMESTAMP,
    Group,
    MappingOption,
    aiokafka_arguments,
    codec_option,
    framework_option,
    group_option,
    kafka_options,
    store_options,
)
from framework.errors import UsageError


@click.group(cls=Group)
def cli() -> None:
    """A command line with the options that the real one has."""


@cli.command()
@framework_option("--topic", "topics", multiple=True)
@framework_option("--plugin", "plugins", multiple=True)
@framework_option("--checkpoint-interval", type=DURATION, default="1s")
@framework_option("--start", type=TIMESTAMP, default="earliest")
@framework_option("--on-error", type=click.Choice(["stop", "skip"]), default="stop")
@framework_option("--stop-at-end", is_flag=True)
@framework_option("--option", "options", cls=MappingOption)
@group_option
@store_options
@codec_option
@kafka_options
def run(**given: Any) -> None:
    GIVEN.update(given)


@cli.group()
def state() -> None:
    """A group in the group."""


@state.command()
@framework_option("--partition", multiple=True, type=int)
@framework_option("--top", type=int)
@framework_option("--ratio", type=float)
@group_option
@store_options
def show(**given: Any) -> None:
    GIVEN.update(given)


GIVEN: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _nothing_given() -> None:
    GIVEN.clear()


def given(*args: str) -> dict[str, Any]:
    """What the command gets."""
    result = CliRunner().invoke(cli, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return GIVEN


def complaint(*args: str) -> str:
    result = CliRunner().invoke(cli, args)
    if isinstance(result.exception, UsageError):
        return str(result.exception)
    assert result.exit_code == 2, result.output
    return result.output


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def write(text: str) -> Path:
        file = tmp_path / "framework.toml"
        file.write_text(text)
        monkeypatch.setenv("FRAMEWORK_CONFIG", str(file))
        return file

    return write


def test_defaults() -> None:
    assert given("run") == {
        "topics": (),
        "plugins": (),
        "checkpoint_interval": 1.0,
        "start": "earliest",
        "on_error": "stop",
        "stop_at_end": False,
        "options": {},
        "group": None,
        "store": "sqlite",
        "store_options": {},
        "state_dir": Path("state"),
        "codec": "json",
        "bootstrap_servers": None,
        "kafka": {},
        "connect_timeout": 30.0,
    }


def test_flag_beats_variable_beats_file(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given("run")["group"] is None
    config('group = "shared"')
    assert given("run")["group"] == "shared"
    config('group = "shared"\n[run]\ngroup = "file"')
    assert given("run")["group"] == "file"
    monkeypatch.setenv("FRAMEWORK_GROUP", "variable")
    assert given("run")["group"] == "variable"
    assert given("run", "--group", "flag")["group"] == "flag"


def test_brokers_are_also_where_kafka_says(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config('bootstrap-servers = "file:1"')
    assert given("run")["bootstrap_servers"] == "file:1"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:1,kafka:2")
    assert given("run")["bootstrap_servers"] == "kafka:1,kafka:2"
    monkeypatch.setenv("FRAMEWORK_BOOTSTRAP_SERVERS", "framework:1")
    assert given("run")["bootstrap_servers"] == "framework:1"
    assert given("run", "--bootstrap-servers", "flag:1")["bootstrap_servers"] == "flag:1"


def test_every_kind_of_option_from_a_file(config: Any) -> None:
    config(
        """
        state_dir = "/var/lib/state"
        connect-timeout = 5

        [run]
        topic = ["a", "b"]
        plugin = "keycount"
        checkpoint-interval = "250ms"
        start = 2024-05-01T12:00:00Z
        on_error = "skip"
        stop_at_end = true

        [run.option]
        field = "amount"
        places = 2
        "sumbykey.number" = "int"

        [run.kafka]
        security_protocol = "SSL"
        "session.timeout.ms" = 6000
        """
    )
    run = given("run")
    assert run["state_dir"] == Path("/var/lib/state")
    assert run["connect_timeout"] == 5.0
    assert run["topics"] == ("a", "b")
    assert run["plugins"] == ("keycount",)
    assert run["checkpoint_interval"] == 0.25
    assert run["start"] == 1714564800000
    assert run["on_error"] == "skip"
    assert run["stop_at_end"] is True
    assert run["options"] == {"field": "amount", "places": 2, "sumbykey.number": "int"}
    assert run["kafka"] == {"security_protocol": "SSL", "session_timeout_ms": 6000}


def test_every_kind_of_option_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "STATE_DIR": "/var/lib/state",
        "TOPIC": "a b",
        "CHECKPOINT_INTERVAL": "2m",
        "START": "1714564800000",
        "ON_ERROR": "skip",
        "STOP_AT_END": "true",
        "OPTION": "field=amount number=int",
        "KAFKA": "security_protocol=SASL_SSL sasl_plain_username=ann",
        "KAFKA_SASL_PLAIN_PASSWORD": "a = b",
    }.items():
        monkeypatch.setenv(f"FRAMEWORK_{name}", value)
    run = given("run")
    assert run["state_dir"] == Path("/var/lib/state")
    assert run["topics"] == ("a", "b")
    assert run["checkpoint_interval"] == 120.0
    assert run["start"] == 1714564800000
    assert run["on_error"] == "skip"
    assert run["stop_at_end"] is True
    assert run["options"] == {"field": "amount", "number": "int"}
    assert run["kafka"] == {
        "security_protocol": "SASL_SSL",
        "sasl_plain_username": "ann",
        "sasl_plain_password": "a = b",
    }


def test_names_and_values_merge_over_the_layers(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config("[run.kafka]\nclient_id = 'file'\nlinger_ms = 5\nfetch_min_bytes = 5\ncompression_type = 'none'")
    monkeypatch.setenv("FRAMEWORK_KAFKA_CLIENT_ID", "variable")
    monkeypatch.setenv("FRAMEWORK_KAFKA_LINGER_MS", "7")
    common = {"linger_ms": 7, "fetch_min_bytes": 5, "compression_type": None}
    assert given("run")["kafka"] == {"client_id": "variable", **common}
    assert given("run", "--kafka", "client-id=flag")["kafka"] == {"client_id": "flag", **common}


def test_a_refused_kafka_setting_is_told_with_where_it_came_from(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaint("run", "--kafka", "linger_ms=-1").startswith("--kafka: linger_ms is -1; ")
    file = config("[run.kafka]\nheartbeat_interval_ms = 20000")
    assert complaint("run").startswith(f"{file}: run.kafka: heartbeat_interval_ms is 20000; ")
    monkeypatch.setenv("FRAMEWORK_KAFKA_HEARTBEAT_INTERVAL_MS", "30000")
    assert complaint("run").startswith("FRAMEWORK_KAFKA_HEARTBEAT_INTERVAL_MS: heartbeat_interval_ms is 30000; ")
    monkeypatch.setenv("FRAMEWORK_KAFKA", "security_protocol=FOO")
    assert complaint("run").startswith("FRAMEWORK_KAFKA: security_protocol is 'FOO'; ")


@pytest.mark.parametrize("variable", ["KAFKA_BOOTSTRAP_SERVERS", "FRAMEWORK_BOOTSTRAP_SERVERS"])
def test_refused_servers_are_told_with_where_they_came_from(
    config: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    assert "the port of 'a:0' is not a number" in complaint("run", "--bootstrap-servers", "a:0")
    monkeypatch.setenv(variable, "http://a")
    assert complaint("run").startswith(f"{variable}: 'http://a' has http:// in front")
    file = config("bootstrap-servers = 'a:0'")
    assert complaint("run").startswith(f"{file}: bootstrap-servers: the port of 'a:0'")


def test_any_refused_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEWORK_CHECKPOINT_INTERVAL", "soon")
    assert complaint("run").startswith("FRAMEWORK_CHECKPOINT_INTERVAL: 'soon' is not a duration")


def test_tables_of_groups_count_for_their_commands(config: Any) -> None:
    config('group = "top"\n[state]\ngroup = "state"\ntop = 3\n[state.show]\ntop = 5\npartition = [1, 2]\nratio = 1')
    show = given("state", "show")
    assert (show["group"], show["top"], show["partition"], show["ratio"]) == ("state", 5, (1, 2), 1.0)
    assert given("run")["group"] == "top"


def test_keys_of_other_commands_are_left_to_them(config: Any) -> None:
    config('topic = "a"\n[run]\nnonsense = 1')
    assert given("state", "show")["group"] is None
    assert "nonsense" in complaint("run")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grop = 'x'", ["unknown key grop (did you mean group?)"]),
        ("[rum]\ngroup = 'x'", ["unknown key rum (did you mean run?)"]),
        ("[run]\nstart-at-end = true", ["unknown key run.start-at-end (did you mean stop-at-end?)"]),
        ("[run]\npartition = 1", ["unknown key run.partition"]),
        ("config = 'x'", ["unknown key config"]),
        ("xyzzy = 'x'", ["unknown key xyzzy; there are: ", "bootstrap-servers", "run", "state"]),
        ("run = 1", ["unknown key run"]),
        ("group = 1", [": group: 1 is not a string"]),
        ("group = ['a']", [": group: ['a'] is not a string"]),
        ("[run]\ntopic = ['a', 1]", [": run.topic: 1 is not a string"]),
        ("[run]\nstop_at_end = 'yes'", [": run.stop_at_end: 'yes' is not a boolean"]),
        ("connect-timeout = true", [": connect-timeout: True is not a string or whole number or number"]),
        ("connect-timeout = 'soon'", [": connect-timeout: 'soon' is not a duration"]),
        ("[run]\non-error = 'no'", [": run.on-error: 'no' is not one of 'stop', 'skip'"]),
        ("[run]\nstart = 'noon'", [": run.start: 'noon' is none of earliest, latest"]),
        ("[run]\noption = 'field=amount'", [": run.option: it must be a table"]),
        ("[run.kafka]\nsasl_user = 'x'", ["run.kafka: unknown Kafka setting sasl_user"]),
        ("[run.kafka]\nsession_timeout_ms = 'x'", ["run.kafka: session_timeout_ms must be a whole number"]),
        ("group = ", ["is not valid TOML"]),
    ],
)
def test_a_bad_file_is_told_with_file_and_key(config: Any, text: str, expected: list[str]) -> None:
    file = config(text)
    message = complaint("run")
    for part in [str(file), *expected]:
        assert part in message


def test_whole_numbers_are_not_cut(config: Any) -> None:
    config("[state.show]\ntop = 1.5")
    assert "state.show.top: 1.5 is not a whole number" in complaint("state", "show")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot read" in complaint("run", "--config", str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("0.25", 0.25), ("7", 7), (" 1 s ", 1)]
)
def test_durations(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1y", "1h30", "0.5ms", "nan", "inf", "1e3", "1 2"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a duration"):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("earliest", "earliest"),
        ("latest", "latest"),
        ("1714564800000", 1714564800000),
        ("2024-05-01T12:00:00Z", 1714564800000),
        ("2024-05-01T14:00:00+02:00", 1714564800000),
        ("2024-05-01 12:00", 1714564800000),
        ("2024-05-01", 1714521600000),
    ],
)
def test_starts(text: str, start: Any) -> None:
    assert TIMESTAMP.convert(text, None, None) == start


@pytest.mark.parametrize("text", ["", "first", "-5", "2024-13-01"])
def test_bad_starts(text: str) -> None:
    with pytest.raises(click.BadParameter, match="none of earliest, latest"):
        TIMESTAMP.convert(text, None, None)


@pytest.mark.parametrize("pair", ["secret", "=secret"])
def test_a_bad_pair_is_not_repeated(pair: str) -> None:
    message = complaint("run", "--kafka", pair)
    assert "NAME=VALUE" in message
    assert "secret" not in message.replace("--kafka", "")


def test_a_value_may_hold_equals_signs_or_nothing() -> None:
    assert given("run", "--option", "a=b=c", "--option", "d=")["options"] == {"a": "b=c", "d": ""}


def test_help_shows_no_value_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEWORK_KAFKA_SASL_PLAIN_PASSWORD", "hunter2")
    result = CliRunner().invoke(cli, ["run", "--help"])
    assert "hunter2" not in result.output
    assert "KAFKA_BOOTSTRAP_SERVERS" in result.output


def test_settings_go_to_the_clients_that_know_them() -> None:
    kafka = {"client_id": "me", "session_timeout_ms": 6000, "linger_ms": 5, "sasl_plain_username": "u"}
    common = {"client_id": "me", "sasl_plain_username": "u"}
    assert aiokafka_arguments(AIOKafkaAdminClient, kafka) == common
    assert aiokafka_arguments(AIOKafkaConsumer, kafka) == common | {"session_timeout_ms": 6000}
    assert aiokafka_arguments(AIOKafkaProducer, kafka) == common | {"linger_ms": 5}


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_tls_gets_a_context(protocol: str) -> None:
    arguments = aiokafka_arguments(AIOKafkaConsumer, {"security_protocol": protocol})
    assert arguments["ssl_context"].check_hostname


def test_tls_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    kafka = {"security_protocol": "SSL", "ssl_cafile": str(missing), "ssl_password": "hunter2"}
    with pytest.raises(UsageError, match=r"ca\.pem") as raised:
        aiokafka_arguments(AIOKafkaConsumer, kafka)
    assert "hunter2" not in str(raised.value)
