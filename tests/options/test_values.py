"""Lists, sizes, tables and secrets, as users write them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st
from pydantic import BaseModel, ByteSize, NonNegativeInt, SecretBytes, SecretStr, create_model, field_validator

from framework import Duration, Options, Processor, UsageError
from framework.options import parse_options, read_options
from framework.plugins import ProcessorSpec

SECRET = "hunter2"  # noqa: S105 - nobody's password


def read(annotation: Any, text: Any) -> Any:
    model = create_model("Model", __base__=Options, option=(annotation, ...))
    return read_options(model, {"option": text}, "sum").option  # type: ignore[attr-defined]


# Lists


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (list[str], "a,b", ["a", "b"]),
        (list[str], " a , b c ", ["a", "b c"]),
        (list[str], "a", ["a"]),
        (list[str], "", []),
        (list[str], '["a,b", "c"]', ["a,b", "c"]),
        (list[str], ["a,b"], ["a,b"]),
        (list[int], "1,2", [1, 2]),
        (list[int] | None, "1,2", [1, 2]),
        (list[int] | None, "null", None),
        (tuple[str, ...], "a,b", ("a", "b")),
        (tuple[str, int], "a,1", ("a", 1)),
        (set[int] | None, "1,2,1", {1, 2}),
        (frozenset[str], "a,b", {"a", "b"}),
        (Sequence[str], "a,b", ["a", "b"]),
        (list[Duration], "5m,1h", [Duration("5m"), Duration("1h")]),
        (list[list[int]], "[[1], [2, 3]]", [[1], [2, 3]]),
        (str | list[str], "a,b", "a,b"),
        (dict[str, int] | list[str], '{"a": 1, "b": 2}', {"a": 1, "b": 2}),
    ],
)
def test_a_list_is_written_with_commas_or_as_json(annotation: Any, text: Any, expected: Any) -> None:
    assert read(annotation, text) == expected


@given_any(
    st.lists(st.text(st.characters(exclude_characters=",", exclude_categories=["C", "Z"]), min_size=1), min_size=2)
)
def test_items_without_commas_come_back(items: list[str]) -> None:
    if not items[0].startswith("["):
        assert read(list[str], ",".join(items)) == items


def test_a_plugin_that_reads_the_text_itself_gets_the_text() -> None:
    class Given(Options):
        fields: list[str]

        @field_validator("fields", mode="before")
        @classmethod
        def with_semicolons(cls, value: str) -> list[str]:
            return value.split(";")

    assert read_options(Given, {"fields": "a,b;c"}, "sum").fields == ["a,b", "c"]


# Sizes


@pytest.mark.parametrize(
    ("text", "size"), [("64MB", 64_000_000), ("16MiB", 16 * 1024**2), ("1.5 kB", 1500), ("10", 10), (20, 20)]
)
def test_a_size_has_a_unit_or_is_a_number_of_bytes(text: Any, size: int) -> None:
    assert read(ByteSize, text) == size


def test_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match="option: it must be a number of bytes, or a size with its unit, such as 64MB"):
        read(ByteSize, "64 furlongs")


# Tables


class Window(BaseModel):
    size: Duration
    fields: list[str] = []
    token: SecretStr = SecretStr("")


class Nested(Options):
    window: Window | None = None
    size: NonNegativeInt = 0


class Deep(Options):
    outer: Nested = Nested()


def spec(name: str, options: type[Options]) -> ProcessorSpec:
    return ProcessorSpec(name, type("Made", (Processor,), {"Options": options}), name)


@pytest.mark.parametrize(
    "given",
    [
        {"window.size": "5m", "window.fields": "a,b"},
        {"window": '{"size": "5m", "fields": ["a", "b"]}'},
        {"window": {"size": "5m", "fields": "a,b"}},
        {"window.fields": "a,b", "window": '{"size": "5m", "fields": "c"}'},
        {"nested.window.fields": "a,b", "window": {"size": "5m"}},
        {"nested": {"window.size": "5m", "window": {"fields": "a,b"}}},
        {"nested.window": {"size": "5m", "fields": "a,b"}, "window.size": "1h"},
    ],
)
def test_a_table_is_given_by_its_options_or_as_json_and_the_options_win(given: dict[str, Any]) -> None:
    read = parse_options([spec("nested", Nested)], given)["nested"]
    assert read == Nested(window=Window(size=Duration("5m"), fields=["a", "b"]))


def test_tables_are_nested() -> None:
    assert read_options(Deep, {"outer.window.size": "5m", "outer.size": "3"}, "deep") == Deep(
        outer=Nested(window=Window(size=Duration("5m")), size=3)
    )


def test_the_name_of_a_processor_comes_before_that_of_a_table() -> None:
    processors = [spec("window", Nested), spec("a", Nested), spec("a.b", Nested)]
    read = parse_options(processors, {"window.size": "1", "a.window.size": "5m", "a.b.size": "2"})
    assert read == {"window": Nested(size=1), "a": Nested(window=Window(size=Duration("5m"))), "a.b": Nested(size=2)}


def test_only_the_processors_that_have_the_inner_option_get_it() -> None:
    other = create_model("Other", __base__=Options, window=(int, 0))
    read = parse_options([spec("nested", Nested), spec("other", other)], {"window.size": "5m"})
    assert read == {"nested": Nested(window=Window(size=Duration("5m"))), "other": other()}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window.sise": "5m"}, "unknown option window.sise (did you mean size?)"),
        ({"windw.size": "5m"}, "unknown option windw.size (did you mean window?)"),
        ({"size.window": "5m"}, "unknown option size.window"),
        ({"window": {"sise": "5m"}}, "there is no option window.sise (did you mean size?)"),
        ({"window": '{"sise": "5m"}'}, "there is no option window.sise (did you mean size?)"),
        ({"window": "5m"}, "window: it must be a table"),
        ({"window": "5m", "window.size": "5m"}, "window is given as a value, and window.size inside it"),
        ({"window.fields": "a"}, "window.size: it is required"),
        ({"window.size": "5"}, "window.size: "),
    ],
)
def test_what_a_table_cannot_have_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_options([spec("nested", Nested)], given)


def test_a_misspelled_option_of_a_table_is_looked_for_in_the_processor_that_has_the_table() -> None:
    for processors in ([spec("other", Options), spec("nested", Nested)], [spec("nested", Nested), spec("other", Deep)]):
        with pytest.raises(UsageError, match=r"unknown option window\.sise \(did you mean size\?\)"):
            parse_options(processors, {"window.sise": "5m"})


def test_the_tables_of_a_store_are_read_too() -> None:
    given = {"window.size": "5m", "window": {"size": "1h", "fields": "a,b"}}
    read = read_options(Nested, given, "the store x")
    assert read == Nested(window=Window(size=Duration("5m"), fields=["a", "b"]))


def test_the_tables_of_a_store_are_refused_with_the_closest_name() -> None:
    with pytest.raises(UsageError, match=r"the store x has no option window\.sise \(did you mean size\?\)"):
        read_options(Nested, {"window.sise": 1}, "the store x")


# Secrets


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("secret")


@pytest.mark.parametrize("annotation", [SecretStr, SecretStr | None, SecretBytes])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_a_file_or_a_variable(
    file: Path, monkeypatch: pytest.MonkeyPatch, annotation: Any, end: str
) -> None:
    file.write_bytes(f"{SECRET}{end}".encode())
    monkeypatch.setenv("SECRET", SECRET)
    for text in ("@file:secret", "@env:SECRET", SECRET):
        secret = read(annotation, text).get_secret_value()
        assert secret in (SECRET, SECRET.encode())


def test_a_secret_in_a_table_is_read_too(file: Path) -> None:
    file.write_text(SECRET)
    by_name = {"window.token": "@file:secret", "window.size": "5m"}
    for given in (by_name, {"window": '{"size": "5m", "token": "@file:secret"}'}):
        window = read_options(Nested, given, "nested").window
        assert window is not None
        assert window.token.get_secret_value() == SECRET


@pytest.mark.parametrize("text", ["file:secret", "@other:secret", "@"])
def test_other_texts_are_secrets_themselves(text: str) -> None:
    assert read(SecretStr, text).get_secret_value() == text


def test_a_text_that_is_no_secret_is_read_from_nowhere(file: Path) -> None:
    file.write_text(SECRET)
    assert read(str, "@file:secret") == "@file:secret"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@file:gone", "the file gone cannot be read: No such file or directory"),
        ("@file:.", "the file . cannot be read: Is a directory"),
        ("@file:a\0b", "the file a\0b cannot be read: embedded null byte"),
        ("@file:secret", "the file secret is not a text in UTF-8"),
        ("@file:empty", "the file empty is empty"),
        ("@env:GONE", "the environment variable GONE is not set"),
        ("@env:", "write @file:PATH or @env:NAME"),
        ("@file", "write @file:PATH or @env:NAME"),
        ("@env:EMPTY", "the environment variable EMPTY is empty"),
    ],
)
def test_a_secret_that_is_not_there_is_missed_by_name(
    file: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    file.write_bytes(b"\xff")
    Path("empty").touch()
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(UsageError, match=re.escape(f"the options of sum cannot be used: option: {reason}\n")):
        read(SecretStr, text)
