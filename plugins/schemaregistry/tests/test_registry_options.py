"""The options, and that secrets stay secret."""

import subprocess
import sys

import pytest
from framework_schemaregistry import RegistryAvro, RegistryJson, RegistryOptions, RegistryProtobuf
from pydantic import SecretStr, ValidationError

from framework import UsageError

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8081",
        "mock://x",
        "ftp://x",
        "http://",
        "http://a:1,",
        "http://a:b",
        "http://a:99999",
        "http://[::1",
        "http://ann:correct-horse@x",
    ],
)
def test_a_url_that_cannot_be_is_refused_without_telling_secrets(url):
    with pytest.raises(ValidationError) as told:
        RegistryOptions(url=url)
    assert "correct-horse" not in str(told.value)


def test_several_urls_of_one_registry():
    assert RegistryOptions(url="http://a:1, https://b:2/path").url == "http://a:1, https://b:2/path"


def test_the_password_is_not_shown():
    options = RegistryOptions(url=URL, user="ann", password=SecretStr("correct-horse"))
    assert "correct-horse" not in f"{options} {options!r} {options.model_dump()}"
    assert options.credentials() == "ann:correct-horse"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"password": "x"}, "has a password, but no user"),
        ({"user": "a:b", "password": "x"}, "has a colon"),
        ({"ca_file": "/nowhere/ca.pem"}, r"cannot be used with /nowhere/ca\.pem: .*; check the options ca_file"),
        ({"cert_file": "/nowhere/c.pem"}, r"cannot be used with /nowhere/c\.pem"),
        ({"key_file": __file__}, "cannot be used with .*check the options ca_file, cert_file and key_file"),
        ({"schema_file": "x.avsc"}, "uses schema_file for outputs only"),
        ({"message": "x"}, "no use for message"),
        ({"decimals": True}, "no use for decimals"),
    ],
)
def test_options_that_cannot_be_are_told(options, says):
    with pytest.raises(UsageError, match=says):
        RegistryAvro(RegistryOptions(url=URL, **options), "value")


def test_options_of_other_formats_are_told():
    for kind in (RegistryJson, RegistryProtobuf):
        with pytest.raises(UsageError, match="no use for reader_schema"):
            kind(RegistryOptions(url=URL, reader_schema="x.avsc"), "value")


def test_outputs_need_a_schema():
    with pytest.raises(UsageError, match="sr-avro of outputs needs schema_file=FILE"):
        RegistryAvro(RegistryOptions(url=URL), "value", "sent")


def test_the_program_lists_the_formats():
    done = subprocess.run(
        [sys.executable, "-m", "framework", "plugins", "formats"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("sr-avro", "sr-json", "sr-protobuf", "subject_strategy"):
        assert name in done.stdout
