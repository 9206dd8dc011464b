"""A hook of mkdocs: the page of all commands and their options, made from the command line itself."""

import re
from collections.abc import Iterator
from html import escape
from inspect import cleandoc
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PAGE: Final = "reference/command-line.md"

_NO_BREAK: Final = "\N{NON-BREAKING HYPHEN}"
"""In the help of our options."""


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the page."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """The page in Markdown, with a section for each command."""
    from framework.cli import main

    return (
        "\n\n".join(["# Command line", *_section(click.Context(main, info_name="framework", **main.context_settings))])
        + "\n"
    )


def _section(ctx: click.Context) -> Iterator[str]:
    """One command, and those below it."""
    command = ctx.command
    yield f"## {ctx.command_path}"
    for text in (command.help, command.epilog):
        yield from (_paragraph(each) for each in cleandoc(text or "").split("\n\n") if each)
    yield _paragraph("\b\n" + command.get_usage(ctx))
    records = [record for each in command.get_params(ctx) if (record := each.get_help_record(ctx)) and record[1]]
    yield "\n".join(["| option | |", "|---|---|", *(f"| `{names}` | {_plain(text)} |" for names, text in records)])
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            if below is not None:
                yield from _section(click.Context(below, info_name=name, parent=ctx))


def _paragraph(text: str) -> str:
    """A paragraph of a help text; click keeps the lines of those that begin with a backspace."""
    kept = text.removeprefix("\b\n")
    return f"```text\n{kept}\n```" if kept != text else _plain(text)


def _plain(text: str) -> str:
    """Text without any meaning to Markdown."""
    return re.sub(r"[\\*_`\[\]|]", r"\\\g<0>", escape(text.replace(_NO_BREAK, "-"), quote=False))
