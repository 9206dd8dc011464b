"""The options that tell how an input file is read, of `framework run` and `framework produce` alike."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from framework.cli.options import framework_option

__all__ = ["DELIMITER", "input_text_options"]

F = TypeVar("F", bound=Callable[..., Any])

_NAMES: Final = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_IMPOSSIBLE: Final = {'"', "\r", "\n", "\0"}


class Delimiter(click.ParamType[str]):
    """One character, or the name of one that a shell makes hard to write."""

    name = "character"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        delimiter: str = _NAMES.get(value, value)
        if len(delimiter) != 1 or delimiter in _IMPOSSIBLE:
            self.fail(f"{value!r} is not a delimiter; write one character, such as ';', or tab.", param, ctx)
        return delimiter


DELIMITER = Delimiter()


def input_text_options(command: F) -> F:
    """`--input-delimiter` and `--input-encoding`: arguments `input_delimiter` and `input_encoding`, None by default."""
    for option in (
        framework_option(
            "--input-encoding",
            metavar="NAME",
            help="Encoding of the file, such as utf-16 or cp1252. The default is UTF-8.",
        ),
        framework_option(
            "--input-delimiter",
            type=DELIMITER,
            metavar="CHARACTER",
            help="Character between the columns of a CSV file, such as ';' or tab. The default is a comma.",
        ),
    ):
        command = option(command)
    return command
