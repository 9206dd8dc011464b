"""The root of the command line: its commands, and how each error ends them."""

import os
import sys
import traceback
from contextlib import suppress
from io import UnsupportedOperation
from typing import Any, NoReturn

import click

from framework.borders import describe, message_of
from framework.cli.options import Group, Settings
from framework.errors import FrameworkError

__all__ = ["cli", "main"]

COMMANDS = {
    "run": ("framework.cli.run:run", "Run plugins over Kafka topics."),
    "demo": ("framework.cli.demo:demo", "Kill workers again and again, and show that their counts stay right."),
    "broker": ("framework.cli.broker:broker", "Run the embedded broker alone."),
    "produce": ("framework.cli.produce:produce", "Send a file's records to a topic."),
    "dead-letters": ("framework.cli.dead_letters:dead_letters", "List records that failed, or send them again."),
    "new": ("framework.cli.new:new", "Make the package of a new plugin."),
    "check": ("framework.cli.check:check", "Check that a plugin keeps the contract."),
    "plugins": ("framework.cli.plugins:plugins", "Show which plugins are installed, and their options."),
    "state": (
        "framework.cli.state:state",
        "Read stored state, or import the state files of aiokafka's local state example.",
    ),
}

_INTERRUPTED = 130
_BROKEN_PIPE = 141


class _Root(Group):
    """Turns every error into its exit status, and one or two lines on stderr."""

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        settings = Settings()
        try:
            status = super().main(args, prog_name or "framework", standalone_mode=False, obj=settings, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(_INTERRUPTED)
        except Exception as error:
            if settings.debug:
                traceback.print_exc()
            message, status = _verdict(error)
            click.echo(message, err=True)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; it ends without a message when the reader of stdout has closed the pipe (`| head`)."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except OSError as error:
            with suppress(UnsupportedOperation):  # or else Python tries once more to write, and fails, when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                ctx.exit(_BROKEN_PIPE)
            raise


def _verdict(error: Exception) -> tuple[str, int]:
    """The message for an error, and the exit status."""
    if isinstance(error, FrameworkError):
        return f"error: {error}", error.exit_status
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"error: {error.format_message()}\ntry '{error.ctx.command_path} --help'", error.exit_code
    if isinstance(error, click.ClickException):
        return f"error: {error.format_message()}", error.exit_code
    if isinstance(error, OSError):
        return f"error: {message_of(error)} (use --debug for the traceback)", 1
    return f"unexpected error: {describe(error)} (use --debug for the traceback; please report)", 1


@click.group(
    "framework",
    cls=_Root,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Example:
  framework run --plugin keycount

Every option can also be set by an environment variable FRAMEWORK_<OPTION>, or in the file that --config names. An
option on the command line overrides the variable, and the variable overrides the file.

Exit status: 0 done; 1 failed while running; 2 wrong usage, configuration or plugin; 3 state is corrupt, incompatible,
missing or taken by another owner; 4 the broker cannot be reached or refuses access, or a topic that an option names
does not exist.
""",
)
@click.version_option(package_name="framework", message="%(prog)s %(version)s")
def cli() -> None:
    """Run plugins that keep exactly-once state over Kafka topics."""


main = cli
