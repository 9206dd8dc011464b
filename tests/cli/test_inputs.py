import click
import pytest
from click.testing import CliRunner, Result

from framework.cli.inputs import input_text_options
from framework.cli.options import Command


@click.command(cls=Command)
@input_text_options
def show(input_delimiter: str | None, input_encoding: str | None) -> None:
    click.echo(f"{input_delimiter!r} {input_encoding!r}")


def invoke(*args: str) -> Result:
    return CliRunner().invoke(show, args)


def test_without_the_options_the_input_decides() -> None:
    assert invoke().stdout == "None None\n"


@pytest.mark.parametrize(
    ("given", "delimiter"),
    [(";", ";"), ("\t", "\t"), ("\\t", "\t"), ("tab", "\t"), ("comma", ","), ("pipe", "|"), ("é", "é")],
)
def test_a_delimiter_is_a_character_or_its_name(given: str, delimiter: str) -> None:
    assert invoke("--input-delimiter", given, "--input-encoding", "cp1252").stdout == f"{delimiter!r} 'cp1252'\n"


@pytest.mark.parametrize("given", ["", ";;", "\n", '"', "tabs"])
def test_what_cannot_be_a_delimiter_is_refused(given: str) -> None:
    result = invoke("--input-delimiter", given)
    assert result.exit_code == 2
    assert "is not a delimiter; write one character, such as ';', or tab" in result.stderr
