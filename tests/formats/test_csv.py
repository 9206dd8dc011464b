"""Lines of CSV files."""

import pytest
from pydantic import ValidationError

from framework.formats import Format
from framework.formats.csv import Csv, CsvOptions
from framework.testing import FormatConformance


class TestCsv(FormatConformance):
    samples = [
        (b"1,Anna,3.5", {"id": "1", "name": "Anna", "price": "3.5"}),
        (b'2,"B,\nb ""x""",', {"id": "2", "name": 'B,\nb "x"', "price": ""}),
    ]
    bad = [b"", b"1,2", b"1,2,3,4", b'1,"2,3', b"\xff,,", b"1,2,3\n4,5,6", b'1,"a"b,2']
    unwritable = [{"id": 1}, [1, 2, 3], "1,2,3"]

    @pytest.fixture
    def form(self) -> Format:
        return Csv(CsvOptions(columns="id,name,price"), "value")


def test_quotes_that_do_not_end_in_a_line_do_not_reach_the_next_one() -> None:
    form = Csv(CsvOptions(columns="a"), "value")
    with pytest.raises(ValueError, match="quoted field"):
        form.read_column([b'"x', b'y"'])


def test_another_delimiter() -> None:
    form = Csv(CsvOptions(columns="a,b", delimiter=";"), "value")
    assert form.read(b"1,5;2") == {"a": "1,5", "b": "2"}
    assert form.write({"a": "1;5", "b": "2"}) == b'"1;5";2'


@pytest.mark.parametrize("columns", ["", "a,,b", "a,a"])
def test_columns_need_names_of_their_own(columns: str) -> None:
    with pytest.raises(ValidationError):
        CsvOptions(columns=columns)
