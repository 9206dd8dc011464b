import csv
import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.embedded.inputs import Input, InputFormat, InputRecord
from framework.errors import UsageError


@pytest.fixture
def file(tmp_path: Path):
    def write(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def refusal(path: str, **options) -> str:
    with pytest.raises(UsageError) as caught:
        list(Input(path, **options))
    return str(caught.value)


# csv


def test_csv_rows_become_json_objects(file) -> None:
    path = file("a.csv", 'user,note\nann,"says ""hi"", twice"\n\nbob,\n')
    assert list(Input(path, key="user")) == [
        InputRecord(b"ann", b'{"user":"ann","note":"says \\"hi\\", twice"}', 2),
        InputRecord(b"bob", b'{"user":"bob","note":""}', 4),
    ]


def test_csv_without_a_key_field_has_no_keys(file) -> None:
    assert [record.key for record in Input(file("a.csv", "user\nann\n"))] == [None]


def test_an_empty_csv_field_is_the_empty_key(file) -> None:
    assert [record.key for record in Input(file("a.csv", "user,x\n,1\n"), key="user")] == [b""]


def test_a_csv_row_may_span_lines_and_names_its_last(file) -> None:
    records = list(Input(file("a.csv", 'k,v\n"a\nb",1\nc,2\n'), key="k"))
    assert [(record.key, record.line) for record in records] == [(b"a\nb", 3), (b"c", 4)]


def test_csv_from_windows(file) -> None:
    path = file("a.csv", b"\xef\xbb\xbfk,v\r\na,1\r\n")
    assert list(Input(path, key="k")) == [InputRecord(b"a", b'{"k":"a","v":"1"}', 2)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a,b\n1,2\n", "line 1: there is no column 'k'; the columns are a, b"),
        ("k,v\n1,2\n3\n", "line 3: 1 field where the header has 2"),
        ("k,v\n1,2,3\n", "line 2: 3 fields where the header has 2"),
        ("k,v,k\n", "line 1: two columns have the name 'k'"),
        ("", "has no header line"),
        ('k\n"open\n', "line 2: not CSV: the file ends within quotes; a quote is not closed"),
        ('k\n"a"b\n', "line 2: not CSV: "),
        (
            'k\n"open\n\n',
            "line 3: not CSV: the file ends within quotes; a quote is not closed in the row that begins in ",
        ),
        ("k\ra\r", "line 1: not CSV: a carriage return (CR) within a field"),
        (b"k\nok\n\xff\n", "line 3: not UTF-8"),
    ],
)
def test_bad_csv_names_file_and_line(file, content: str | bytes, says: str) -> None:
    path = file("bad.csv", content)
    message = refusal(path, key="k")
    assert message.startswith(path)
    assert says in message


@pytest.mark.parametrize("length", [131_073, 5_000_000])
def test_a_csv_field_of_any_length_that_a_record_may_have_is_read(file, length: int) -> None:
    (record,) = Input(file("a.csv", f"k,v\na,{'x' * length}\n"), key="k")
    assert json.loads(record.value or b"") == {"k": "a", "v": "x" * length}


def test_a_quote_that_is_not_closed_ends_before_memory_is_full(file, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framework.embedded.inputs._MAX_FIELD_CHARACTERS", 200_000)
    limit = csv.field_size_limit(100_000)
    try:
        path = file("a.csv", 'k,v\na,1\nb,"' + "open\n" * 100_000)
        assert "in the row that begins in line 3" in (message := refusal(path))
        assert "not CSV: a field of more than 67,108,864 characters, as where a quote" in message
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " "])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_other_delimiters(file, name: str, delimiter: str) -> None:
    text = 'k,n,"v ;|\t"\r\na,"1,5",x\r\n'.replace(",", delimiter).encode()
    path = file(name, gzip.compress(text) if name.endswith(".gz") else text)
    value = json.dumps({"k": "a", "n": f"1{delimiter}5", "v ;|\t": "x"}, separators=(",", ":")).encode()
    assert list(Input(path, key="k", delimiter=delimiter)) == [InputRecord(b"a", value, 2)]


@pytest.mark.parametrize(
    ("header", "key", "suggested"),
    [
        ("k;v", "k", "';'"),
        ("k;v", None, "';'"),
        ("k\tv\tw", None, "tab"),
        ("k|v", None, "'|'"),
        ("k;a, b;c;d", "k", "';'"),
        ('"k";"v"', "k", "';'"),
        ('k\t"v"\tw', None, "tab"),
        ('"k"|v', "k", "'|'"),
    ],
)
def test_a_header_with_another_delimiter_suggests_the_option(
    file, header: str, key: str | None, suggested: str
) -> None:
    message = refusal(file("a.csv", f"{header}\n1;2;3\n"), key=key)
    assert ", line 1: " in message
    assert f"try --input-delimiter {suggested}" in message


def test_a_delimiter_that_is_named_is_not_doubted(file) -> None:
    (record,) = Input(file("a.csv", "a;b\n1;2\n"), delimiter=",")
    assert json.loads(record.value or b"") == {"a;b": "1;2"}


def test_a_missing_column_suggests_no_delimiter_where_none_is_likely(file) -> None:
    assert "--input-delimiter" not in refusal(file("a.csv", "a,b;c,d\n1,2,3\n"), key="k")


@pytest.mark.parametrize("name", ["a.tsv", "a.ndjson"])
def test_only_csv_has_a_delimiter(file, name: str) -> None:
    assert "only csv has a delimiter; leave out --input-delimiter, or name the format csv" in refusal(
        file(name, "a;1\n"), delimiter=";"
    )


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_csv_values_hold_every_field(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    rows = [(a.replace("\r", "").replace("\0", ""), b.replace("\r", "").replace("\0", "")) for a, b in rows]
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as out:
        csv.writer(out).writerows([("first", "second"), *rows])
    read = [json.loads(record.value or b"") for record in Input(str(path))]
    assert read == [{"first": a, "second": b} for a, b in rows]


# ndjson


@pytest.mark.parametrize("extension", ["ndjson", "jsonl", "json"])
def test_ndjson_values_are_the_lines_as_they_are(file, extension: str) -> None:
    path = file(f"a.{extension}", '{"user": {"id": "ann"},  "n": 1.10}\n\n{"user":{"id":"bob"}}\r\n')
    assert list(Input(path, key="user.id")) == [
        InputRecord(b"ann", b'{"user": {"id": "ann"},  "n": 1.10}', 1),
        InputRecord(b"bob", b'{"user":{"id":"bob"}}', 3),
    ]


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ('"1"', b"1"),
        ("1.10", b"1.10"),
        ("12345678901234567890123", b"12345678901234567890123"),
        ("-1e5", b"-1e5"),
        ("true", b"true"),
        ("false", b"false"),
        ('""', b""),
        ("null", None),
        ('"gr\\u00fcn"', "grün".encode()),
    ],
)
def test_json_keys(file, field: str, key: bytes | None) -> None:
    (record,) = Input(file("a.ndjson", f'{{"k": {field}}}'), key="k")
    assert record.key == key


def test_ndjson_without_a_key_field_may_be_any_document(file) -> None:
    assert [record.key for record in Input(file("a.ndjson", '1\n"x"\n[]\n'))] == [None, None, None]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"k": 1}\n{"k": \n', "line 2: not one JSON document"),
        ('{"k": 1} {"k": 2}\n', "line 1: not one JSON document: Extra data"),
        ('{"k": NaN}\n', "line 1: not one JSON document: NaN is not JSON"),
        ('{"a": 1, "b": 2}\n', "line 1: there is no field 'k'; the fields are a, b"),
        ("[1]\n", "line 1: there is no field 'k'; the line is not an object"),
        ('{"k": {"x": 1}}\n', "line 1: field 'k' is an object or an array"),
        ('{"k": "\\ud800"}\n', "line 1: field 'k' cannot be a key: "),
        (b'{"k": "\xff"}\n', "line 1: not one JSON document"),
    ],
)
def test_bad_ndjson_names_file_and_line(file, content: str | bytes, says: str) -> None:
    path = file("bad.ndjson", content)
    message = refusal(path, key="k")
    assert message.startswith(path)
    assert says in message


# tsv


def test_tsv_lines(file) -> None:
    path = file("a.txt", b"key\tvalue\twith tab\n\n\tno name\nonly value\nlast\t\xff\r\n")
    assert list(Input(path)) == [
        InputRecord(b"key", b"value\twith tab", 1),
        InputRecord(b"", b"no name", 3),
        InputRecord(None, b"only value", 4),
        InputRecord(b"last", b"\xff", 5),
    ]


def test_tsv_has_no_fields_to_choose_a_key_from(file) -> None:
    assert "leave out --input-key (of produce: --key), or name the format" in refusal(
        file("a.tsv", "a\t1\n"), key="user"
    )


# encodings

TEXT = {
    "csv": "k,v\r\nçà,ਊ ਊ\r\n",
    "ndjson": '{"k":"çà","v":"ਊ ਊ"}\n',
    "tsv": "çà\tਊ ਊ\n",
}
"""With a letter, U+0A0A, whose bytes in UTF-16 look like the ends of lines."""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("format", ["csv", "ndjson", "tsv"])
def test_keys_and_values_of_any_encoding_become_utf8(file, format: InputFormat, encoding: str, marked: bool) -> None:  # noqa: A002
    text = "\ufeff" + TEXT[format] if marked and encoding in ("utf-8", "utf-16-le", "utf-16-be") else TEXT[format]
    path = file("a", text.encode(encoding))
    key = None if format == "tsv" else "k"
    (record,) = Input(path, format=format, key=key, encoding=encoding)
    value = "ਊ ਊ" if format == "tsv" else '{"k":"çà","v":"ਊ ਊ"}'
    assert record == InputRecord("çà".encode(), value.encode(), 2 if format == "csv" else 1)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_one_byte_a_character(file, name: str) -> None:
    text = "stadt;größe\r\nKöln;1€\r\n".encode("cp1252")
    path = file(name, gzip.compress(text) if name.endswith(".gz") else text)
    (record,) = Input(path, key="stadt", delimiter=";", encoding="cp1252")
    assert record == InputRecord("Köln".encode(), '{"stadt":"Köln","größe":"1€"}'.encode(), 2)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize(("name", "content"), [("a.csv", "k,v\na,é\n"), ("a.ndjson", '{"k": "é"}\n')])
def test_bytes_in_another_encoding_suggest_the_option(file, name: str, content: str, encoding: str) -> None:
    path = file(name, content.encode(encoding))
    message = refusal(path, key="k")
    assert f"such as --input-encoding {encoding}" in message
    assert list(Input(path, key="k", encoding=encoding))


def test_tsv_that_begins_as_utf16_is_refused_and_other_bytes_are_taken(file) -> None:
    assert "--input-encoding utf-16" in refusal(file("a.tsv", "a\t1\n".encode("utf-16")))
    assert list(Input(file("a.tsv", b"\xe9\t\0\n"))) == [InputRecord(b"\xe9", b"\0", 1)]


def test_bytes_that_the_named_encoding_does_not_have(file) -> None:
    path = file("a.tsv", b"a\t1\nb\t\xff\n")
    records = iter(Input(path, encoding="ascii"))
    assert next(records).key == b"a"
    with pytest.raises(UsageError, match=r"a\.tsv, line 2: not ascii: .* name another --input-encoding"):
        next(records)


# all


def test_the_format_can_be_named(file) -> None:
    path = file("data", "k\na\n")
    assert [record.key for record in Input(path, format="csv", key="k")] == [b"a"]
    assert [record.value for record in Input(path)] == [b"k", b"a"]


@pytest.mark.parametrize(
    ("name", "format", "content"),
    [("a.csv.gz", "csv", b"k\na\n"), ("a.jsonl.gz", "ndjson", b'{"k":"a"}\n'), ("a.tsv.gz", "tsv", b"a\tb\n")],
)
def test_compressed_files(file, name: str, format: InputFormat, content: bytes) -> None:  # noqa: A002
    source = Input(file(name, gzip.compress(content)), key=None if format == "tsv" else "k")
    assert [record.key for record in source] == [b"a"]
    assert source.bytes_read == source.size == len(gzip.compress(content))


PACKED = gzip.compress(b"a\tb\n" * 1000)


@pytest.mark.parametrize(
    "damaged", [PACKED[:-12], b"not packed\n", PACKED[:-4] + b"0000"], ids=["cut", "plain", "size"]
)
def test_a_damaged_compressed_file_is_refused(file, damaged: bytes) -> None:
    path = file("a.tsv.gz", damaged)
    assert refusal(path).startswith(f"{path} cannot be read beyond line ")


def test_progress_is_told_in_bytes_of_the_file(file) -> None:
    source = Input(file("a.tsv", b"key\tvalue\n" * 100_000))
    assert source.size == 1_000_000
    records = iter(source)
    next(records)
    assert 0 < source.bytes_read < 100_000
    assert sum(1 for _ in records) == 99_999
    assert source.bytes_read == source.size


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a\t1\nb\n")))
    source = Input("-")
    assert source.size is None
    assert list(source) == [InputRecord(b"a", b"1", 1), InputRecord(None, b"b", 2)]
    assert not sys.stdin.buffer.closed


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none\.csv: No such file"):
        Input(str(tmp_path / "none.csv"))
    with pytest.raises(UsageError, match="it is a directory"):
        Input(str(tmp_path))
