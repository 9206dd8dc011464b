import pytest

from framework.cli.tables import print_table


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"key": "日本", "keys": 5, "note": "a"}, {"key": "x", "keys": 1000, "note": ""}])
    assert capsys.readouterr().out == "key   keys  note\n日本     5  a\nx     1000\n"
