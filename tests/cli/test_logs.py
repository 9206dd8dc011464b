import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import pytest

from framework.cli import logs

log = logging.getLogger("framework")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "framework", "aiokafka")]
    levels, handlers = [logger.level for logger in loggers], list(loggers[0].handlers)
    loggers[0].handlers.clear()
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_text_is_time_level_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    log.info("assigned %s", "test-0", extra={"topic": "test"})
    output = capsys.readouterr()
    time, rest = output.err.split(" ", 1)
    datetime.strptime(time, "%H:%M:%S")
    assert rest == "info assigned test-0\n"
    assert output.out == ""


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    log.warning("two\nlines", extra={"topic": "tést", "partition": 3})
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert datetime.fromisoformat(entry.pop("time")).utcoffset() == timedelta(0)
    assert entry == {
        "topic": "tést",
        "partition": 3,
        "level": "warning",
        "logger": "framework",
        "message": "two\nlines",
    }


def test_json_holds_whatever_extra_fields_hold(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    log.info("x", extra={"odd": {1}, "time": "mine"})
    entry = json.loads(capsys.readouterr().err)
    assert entry["odd"] == "{1}"
    assert entry["time"] != "mine"


def log_an_error() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("it failed")


def test_a_traceback_is_for_debugging(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    log_an_error()
    assert capsys.readouterr().err.endswith(" error it failed: ValueError: bad\n")
    logs.configure("text", debug=True)
    log_an_error()
    assert "Traceback" in capsys.readouterr().err


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("format", ["text", "json"])
def test_an_error_whose_text_cannot_be_made_is_logged(
    capsys: pytest.CaptureFixture[str],
    format: Literal["text", "json"],  # noqa: A002 - as it is named there
    debug: bool,
) -> None:
    logs.configure(format, debug=debug)
    log.error("it failed", exc_info=UnspeakableError())
    output = capsys.readouterr().err
    assert "it failed" in output
    assert "UnspeakableError" in output
    assert "Logging error" not in output


def test_json_carries_the_traceback_in_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    log_an_error()
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["exception"].startswith("Traceback")


@pytest.mark.parametrize("debug", [False, True])
def test_levels(capsys: pytest.CaptureFixture[str], debug: bool) -> None:
    logs.configure("text", debug=debug)
    log.debug("ours in detail")
    aiokafka = logging.getLogger("aiokafka.consumer.group_coordinator")
    aiokafka.info("joined")
    aiokafka.warning("Heartbeat failed for group %s because it is rebalancing", "g")
    aiokafka.warning("Heartbeat failed: local member_id was not recognized")
    said = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    always = ["warning Heartbeat failed: local member_id was not recognized"]
    detail = ["debug ours in detail", "info joined", "warning Heartbeat failed for group g because it is rebalancing"]
    assert said == (detail + always if debug else always)


def test_configuring_again_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logs.configure("text")
    log.info("once")
    assert capsys.readouterr().err.count("once") == 1
