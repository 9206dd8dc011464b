import io
import re
import sys

import pytest

from framework.cli.tables import print_table, terminal_width


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"key": "日本", "keys": 5, "note": "a"}, {"key": "x", "keys": 1000, "note": ""}])
    assert capsys.readouterr().out == "key   keys  note\n日本     5  a\nx     1000\n"


ROWS = [{"topic": "orders", "keys": 5, "saved at": "yesterday"}, {"topic": "t", "keys": 1000, "saved at": "-"}]


@pytest.mark.parametrize(
    ("width", "columns", "left_out"),
    [
        (23, ["topic", "keys", "saved at"], ""),
        (22, ["topic", "keys"], "saved at"),
        (12, ["topic", "keys"], "saved at"),
        (11, ["topic"], "keys, saved at"),
        (1, ["topic"], "keys, saved at"),
    ],
)
def test_columns_that_do_not_fit_are_left_out_and_named(
    capsys: pytest.CaptureFixture[str], width: int, columns: list[str], left_out: str
) -> None:
    print_table(ROWS, width=width)
    out, err = capsys.readouterr()
    assert re.split("  +", out.splitlines()[0]) == columns
    assert all(len(line) <= max(width, 6) for line in out.splitlines())
    assert err == (f"not shown, for lack of room: {left_out}; a wider terminal shows them\n" if left_out else "")


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("COLUMNS", "60")
    assert terminal_width() is None
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert terminal_width() == 60
