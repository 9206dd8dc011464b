"""Settings of the Kafka clients are checked before anything is connected."""

import inspect

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, codec

from framework.kafka.settings import SETTINGS, SettingError, check_servers, check_setting, check_together

SASL = {"security_protocol": "SASL_SSL", "sasl_plain_username": "ann", "sasl_plain_password": "hunter2"}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("security_protocol", "FOO", "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("security_protocol", "ssl", "did you mean SSL?"),
        ("security_protocol", "SASL-SSL", "did you mean SASL_SSL?"),
        ("sasl_mechanism", "plain", "did you mean PLAIN?"),
        ("sasl_mechanism", "SCRAM-SHA-265", "did you mean SCRAM-SHA-256"),
        ("sasl_mechanism", "scram_sha_512", "did you mean SCRAM-SHA-512?"),
        ("sasl_mechanism", "OAUTHBEARER", "one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, GSSAPI"),
        ("compression_type", "bogus", "one of none, gzip, snappy, lz4, zstd"),
        ("compression_type", "gz", "did you mean gzip?"),
        ("max_request_size", "-1", "a whole number from 1 to 2147483647"),
        ("max_request_size", 2**31, "a whole number from 1 to 2147483647"),
        ("session_timeout_ms", "10s", "a whole number of 1 or more"),
        ("session_timeout_ms", 1.5, "a whole number of 1 or more"),
        ("session_timeout_ms", True, "a whole number of 1 or more"),
        ("session_timeout_ms", [1], "a whole number of 1 or more"),
        ("client_id", 7, "must be a text, not a int"),
        ("sasl_plain_password", "", "is empty"),
        ("sasl_plain_pasword", "hunter2", "unknown Kafka setting sasl_plain_pasword (did you mean sasl_plain_password"),
        ("zzz", "hunter2", "there are: client_id, "),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_what_it_may_be(name, value, told):
    with pytest.raises(SettingError) as raised:
        check_setting(name, value)
    assert name in str(raised.value)
    assert told in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_settings_may_be_written_as_kafka_writes_them():
    assert check_setting("session.timeout.ms", "6000") == ("session_timeout_ms", 6000)
    assert check_setting("linger-ms", 0) == ("linger_ms", 0)
    assert check_setting("compression.type", "none") == ("compression_type", None)
    assert check_setting("compression_type", "zstd") == ("compression_type", "zstd")


def test_a_compression_whose_library_is_missing_names_what_to_install(monkeypatch):
    monkeypatch.setattr(codec, "has_lz4", lambda: False)
    with pytest.raises(SettingError, match=r"pip install 'aiokafka\[lz4\]'"):
        check_setting("compression_type", "lz4")


def test_kerberos_without_its_library_names_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match="pip install gssapi"):
        check_setting("sasl_mechanism", "GSSAPI")


def test_every_setting_is_one_of_aiokafka():
    known = {*inspect.signature(AIOKafkaConsumer).parameters, *inspect.signature(AIOKafkaProducer).parameters}
    assert {name for name in SETTINGS if not name.startswith("ssl_")} <= known


@pytest.mark.parametrize(
    ("settings", "at_fault", "told"),
    [
        ({"heartbeat_interval_ms": 10_000}, "heartbeat_interval_ms", "less than session_timeout_ms, which is 10000"),
        ({"heartbeat_interval_ms": 9, "session_timeout_ms": 9}, "heartbeat_interval_ms", "which is 9"),
        ({"fetch_min_bytes": 9, "fetch_max_bytes": 8}, "fetch_min_bytes", "must not exceed fetch_max_bytes"),
        ({"security_protocol": "SASL_SSL"}, "security_protocol", "needs sasl_plain_username, which is missing"),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_username": "ann"},
            "security_protocol",
            "sasl_mechanism=SCRAM-SHA-256 needs sasl_plain_password, which is missing",
        ),
        ({"sasl_plain_password": "hunter2"}, "sasl_plain_password", "security_protocol=SASL_PLAINTEXT or SASL_SSL"),
        ({**SASL, "security_protocol": "SSL"}, "sasl_plain_username", "has no effect with security_protocol SSL"),
        ({"ssl_cafile": "ca.pem"}, "ssl_cafile", "set security_protocol=SSL or SASL_SSL"),
        ({"security_protocol": "SSL", "ssl_keyfile": "key.pem"}, "ssl_keyfile", "needs ssl_certfile"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, at_fault, told):
    with pytest.raises(SettingError) as raised:
        check_together(settings)
    assert raised.value.name == at_fault
    assert told in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        SASL,
        {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "GSSAPI"},
        {"heartbeat_interval_ms": 3_000},
        {"security_protocol": "SSL", "ssl_cafile": "ca.pem", "ssl_certfile": "me.pem", "ssl_keyfile": "key.pem"},
    ],
)
def test_settings_that_go_together_are_taken(settings):
    check_together(settings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://a:9092", "write a:9092;"),
        ("SASL_SSL://a:9092", "write a:9092 and --kafka security_protocol=SASL_SSL;"),
        ("a:99999", "the port of 'a:99999' is not a number from 1 to 65535"),
        ("a:0", "from 1 to 65535"),
        ("a:kafka", "from 1 to 65535"),
        ("a:", "from 1 to 65535"),
        ("a:-1", "from 1 to 65535"),
        ("a:" + "9" * 5000, "from 1 to 65535"),
        ("a:1:2", "is not HOST:PORT"),
        ("a:1/path", "is not HOST:PORT"),
        (":9092", "is not HOST:PORT"),
        ("a b:1", "is not HOST:PORT"),
        ("a:1,,b:2", "a server is empty"),
        ("", "a server is empty"),
    ],
)
def test_servers_that_cannot_be_used_are_refused(text, told):
    with pytest.raises(SettingError) as raised:
        check_servers(text)
    assert told in str(raised.value)
    assert "HOST:PORT, separated by commas" in str(raised.value)


@pytest.mark.parametrize(
    "text", ["a", "a:1", "a.b-c_d:9092,10.0.0.1:65535", "[::1]:9092", "[fe80::1%eth0]:9092", "[::1]"]
)
def test_servers_that_can_be_used_are_taken(text):
    assert check_servers(text) == text


@pytest.mark.parametrize("text", ["kafka://ann:secret@a:9092", "ann:secret@a:9092", "b:1,SASL_SSL://ann:secret@a"])
def test_a_password_among_the_servers_is_not_repeated(text):
    with pytest.raises(SettingError, match="sasl_plain_password") as raised:
        check_servers(text)
    assert "secret" not in str(raised.value)


def test_blanks_between_servers_are_left_out():
    assert check_servers("a:1, b:2 ") == "a:1,b:2"
