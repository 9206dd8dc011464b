"""The formats of a processor: what it declares, what the user chooses, and that all of them are closed."""

import logging
from typing import Any

import pytest

from framework import Options, Processor
from framework.errors import PluginError, UsageError
from framework.formats import Format, FormatOptions
from framework.plugins import load
from framework.runtime.formats import FormatChoice, Formats
from framework.runtime.writers import Writers
from tests.runtime.played import KINDS

make = load([]).format


class Declared(Processor):
    api_version = 1
    key_format = "int64"
    value_format = dict[str, int]
    output_formats = {"totals": "int32", "texts": "utf8"}


class ByOption(Processor):
    api_version = 1

    class Options(Options):
        form: str = "utf8"

    @classmethod
    def value_format_of(cls, options: Any) -> Any:
        return options.form


def test_a_processor_declares_its_formats():
    formats = Formats.of(Declared, None, FormatChoice(), make)
    assert (str(formats.key), str(formats.value)) == ("int64", "json of dict[str, int]")
    assert formats.writers.of("value", "totals", None)(1) == b"\0\0\0\1"


def test_a_format_may_depend_on_options():
    assert str(Formats.of(ByOption, ByOption.Options(form="json"), FormatChoice(), make).value) == "json"


def test_the_user_overrides_what_is_declared():
    choice = FormatChoice(
        key="utf8",
        value="csv",
        value_options={"columns": "a,b"},
        outputs={"totals": "csv"},
        output_keys={"counts": "int32"},
        output_options={"totals.columns": "n"},
    )
    formats = Formats.of(Declared, None, choice, make)
    assert (str(formats.key), str(formats.value)) == ("utf8", "csv")
    assert formats.writers.of("value", "totals", None)({"n": 1}) == b"1"
    assert formats.writers.of("value", "texts", None)("x") == b"x"
    assert formats.writers.of("key", "counts", None)(1) == b"\0\0\0\1"


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (FormatChoice(value="jsn"), "no format named 'jsn'"),
        (FormatChoice(value="csv"), "columns: it is required"),
        (FormatChoice(key_options={"columns": "a"}), "the format int64 has no option columns"),
        (FormatChoice(value_options={"columns": "a"}), "JSON of a type has no options"),
        (FormatChoice(outputs={"t": "csv"}, output_options={"t.colums": "a"}), "the format csv has no option colums"),
        (FormatChoice(output_options={"u.columns": "a"}), "--output-format-option u.columns: no --output-format names"),
    ],
)
def test_what_cannot_be_used_is_told(choice: FormatChoice, says: str):
    with pytest.raises(UsageError, match=says):
        Formats.of(Declared, None, choice, make)


class Lives(Format):
    """Tells when it is opened and closed; raises what it is told to."""

    name = "lives"

    def __init__(self, told: list[str], label: str, failing: dict[str, type[BaseException]]) -> None:
        super().__init__(FormatOptions(), "value")
        self.told = told
        self.label = label
        self.failing = failing

    def read(self, data: bytes) -> Any:
        return data

    async def open(self) -> None:
        self._tell("open")

    async def close(self) -> None:
        self._tell("close")

    def _tell(self, what: str) -> None:
        self.told.append(f"{what} {self.label}")
        if f"{what} {self.label}" in self.failing:
            raise self.failing[f"{what} {self.label}"]


def three(told: list[str], **failing: type[BaseException]) -> Formats:
    named = {name.replace("_", " "): kind for name, kind in failing.items()}
    key, value, output = (Lives(told, label, named) for label in ("key", "value", "output"))
    return Formats(key, value, {("value", "t"): output}, Writers({}, make))


async def test_all_are_opened_and_closed():
    told: list[str] = []
    formats = three(told)
    await formats.open()
    await formats.close()
    assert told == ["open key", "open value", "open output", "close key", "close value", "close output"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failure_to_open_is_told_and_all_are_closed(kind):
    told: list[str] = []
    formats = three(told, open_value=kind, close_key=kind)
    with pytest.raises(PluginError, match="the format lives could not be opened"):
        await formats.open()
    await formats.close()
    assert told == ["open key", "open value", "close key", "close value", "close output"]


async def test_a_failure_to_close_is_logged(caplog):
    with caplog.at_level(logging.ERROR):
        await three([], close_value=SystemExit).close()
    assert "the format lives failed to close: SystemExit" in caplog.text


async def test_a_usage_error_of_a_format_stays_what_it_is():
    with pytest.raises(UsageError):
        await three([], open_key=UsageError).open()
