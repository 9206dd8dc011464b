"""How commands declare options, each also a `FRAMEWORK_…` variable and a key in a TOML file.

A flag beats a variable, a variable beats the file.

A file given by `--config` (or `FRAMEWORK_CONFIG`) has keys named as the options, with dashes or underscores. At its top
they count for every command that has such an option; in the table of a command (`[run]`, `[state.list]`) for that
command, where they win. Variables that hold a list are separated by spaces.
"""

import datetime
import os
import pkgutil
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import click
from click.core import ParameterSource

from framework._closest import closest_or_all
from framework.cli import logs
from framework.durations import parse_duration
from framework.errors import UsageError
from framework.kafka.settings import SettingError, check_servers, check_setting, check_together

if TYPE_CHECKING:
    from framework.policy import Start

__all__ = [
    "DURATION",
    "NAME_VALUE",
    "PATTERN",
    "TIMESTAMP",
    "Command",
    "Group",
    "MappingOption",
    "Option",
    "Settings",
    "aiokafka_arguments",
    "codec_option",
    "framework_option",
    "group_option",
    "kafka_options",
    "log_options",
    "store_options",
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Settings:
    """What every command obeys; `click.Context.obj`."""

    debug: bool = False


# Types of values


class Duration(click.ParamType[float]):
    """`500ms`, `1s`, `2m`, `1h`, `7d` or plain seconds, as seconds."""

    name = "duration"
    toml_types: ClassVar = (str, int, float)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            return parse_duration(f"{text}s" if text.replace(".", "", 1).isdecimal() else text) / 1000
        except ValueError:
            self.fail(f"{value!r} is not a duration; write 500ms, 1s, 2m, 1h, 7d or seconds.", param, ctx)


class Timestamp(click.ParamType["Start"]):
    """`earliest`, `latest`, ISO 8601 (UTC where it names no zone) or milliseconds since the epoch, as `Start`."""

    name = "earliest|latest|TIME"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name  # the words are to be written as they are

    toml_types: ClassVar = (str, int, datetime.date)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Start":
        if value == "earliest" or value == "latest" or isinstance(value, int):
            return value  # type: ignore[no-any-return]
        text = str(value).strip()
        if text.isascii() and text.isdigit():
            return int(text)
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is none of earliest, latest, a time such as 2024-05-01T12:00:00Z, "
                "or milliseconds since the epoch.",
                param,
                ctx,
            )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return int(moment.timestamp() * 1000)


class NameValue(click.ParamType[tuple[str, Any]]):
    """`NAME=VALUE` as a pair; only what comes from a TOML table has values other than text."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not (name and equals):
            # The value may be a secret: it is not repeated.
            self.fail("write NAME=VALUE.", param, ctx)
        return name, text


class Pattern(click.ParamType[re.Pattern[str]]):
    """A regular expression as Python has them."""

    name = "regex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> re.Pattern[str]:
        if isinstance(value, re.Pattern):
            return value
        try:
            pattern = re.compile(value)
            re.compile(f"(?:{value})")
        except (re.error, OverflowError, RecursionError) as error:
            self.fail(f"'{value}' is not a regular expression: {error} (write flags as in '(?i:orders)').", param, ctx)
        return pattern


DURATION = Duration()
PATTERN = Pattern()
TIMESTAMP = Timestamp()
NAME_VALUE = NameValue()


# Options and commands

_HYPHEN = "\u2011"
"""A hyphen at which no line is broken."""


class Option(click.Option):
    """An option that is also the variable `FRAMEWORK_<NAME>`."""

    def __init__(self, param_decls: list[str], **attrs: Any) -> None:
        super().__init__(param_decls, **attrs)
        if isinstance(self.type, click.IntRange):
            self.type.name = "integer"  # click says "integer range", as if a range were to be written
        if self.envvar is None:
            self.envvar = f"FRAMEWORK_{self.key.upper().replace('-', '_')}"

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """What help shows. Its hyphens are such that no line breaks at them; `Command.get_help` undoes that."""
        record = super().get_help_record(ctx)
        return None if record is None else (record[0], record[1].replace("-", _HYPHEN))

    @property
    def key(self) -> str:
        """The option's name in a file."""
        return max(self.opts, key=len).removeprefix("--")

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Check a value. Raises `click.BadParameter`; `UsageError` with the variable's name where it came from one."""
        try:
            return super().process_value(ctx, value)
        except click.BadParameter as error:
            if ctx.get_parameter_source(self.name) is not ParameterSource.ENVIRONMENT:
                error.param_hint = f"--{self.key}"  # click would name the variables, too
                raise
            raise UsageError(f"{self._variable()}: {error.message}") from error

    def _variable(self) -> str:
        names = [self.envvar] if isinstance(self.envvar, str) else self.envvar or ()
        return next(name for name in names if os.environ.get(name))

    def from_toml(self, value: Any, ctx: click.Context) -> Any:
        """Check a file's value. Raises `click.BadParameter`."""
        allowed = self._toml_types()
        values = value if self.multiple and isinstance(value, list) else [value]
        for one in values:
            if not isinstance(one, allowed) or (isinstance(one, bool) and bool not in allowed):
                names = " or ".join(_TOML_NAMES[a] for a in allowed)
                raise click.BadParameter(f"{one!r} is not a {names}.", ctx, self)
        checked = values if self.multiple else value
        self.type_cast_value(ctx, checked)
        return checked

    def _toml_types(self) -> tuple[type, ...]:
        if self.is_flag:
            return (bool,)
        if isinstance(self.type, click.types.IntParamType):
            return (int,)
        if isinstance(self.type, click.types.FloatParamType):
            return (int, float)
        return getattr(self.type, "toml_types", (str,))


_TOML_NAMES = {
    bool: "boolean",
    int: "whole number",
    float: "number",
    str: "string",
    datetime.date: "date or time",
}


class MappingOption(Option):
    """A repeatable `--option NAME=VALUE`, given to the command as a dict.

    In a file it is a table. The layers are merged name by name. With `variables`, each `FRAMEWORK_<OPTION>_<NAME>` is
    a layer of its own, above the file and below the flags. `check` may change or refuse (`SettingError`) a pair, and
    `check_together` may refuse what the merged layers give.
    """

    def __init__(
        self,
        param_decls: list[str],
        *,
        variables: bool = False,
        metavar: str = "NAME=VALUE",
        check: Callable[[str, Any], tuple[str, Any]] = lambda name, value: (name, value),
        check_together: Callable[[Mapping[str, Any]], None] = lambda merged: None,
        **attrs: Any,
    ) -> None:
        super().__init__(param_decls, multiple=True, type=NAME_VALUE, metavar=metavar, callback=self._merge, **attrs)
        self._variables = variables
        self._check = check
        self._check_together = check_together

    def from_toml(self, value: Any, ctx: click.Context) -> Any:
        """Check a file's table. Raises `click.BadParameter`."""
        if not isinstance(value, dict):
            raise click.BadParameter("it must be a table of names and values.", ctx, self)
        pairs = list(value.items())
        try:
            for pair in pairs:
                self._check(*pair)
        except SettingError as error:
            raise click.BadParameter(str(error), ctx, self) from error
        return pairs

    def _merge(self, ctx: click.Context, param: click.Parameter, given: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
        """The layers, merged. Raises `UsageError`, which names where the refused value came from."""
        merged: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for origin, pair in self._layers(ctx, given):
            try:
                name, value = self._check(*pair)
            except SettingError as error:
                raise UsageError(f"{origin}: {error}") from error
            merged[name], origins[name] = value, origin
        try:
            self._check_together(merged)
        except SettingError as error:
            raise UsageError(f"{origins.get(error.name, self.opts[0])}: {error}") from error
        return merged

    def _layers(self, ctx: click.Context, given: tuple[tuple[str, Any], ...]) -> Iterator[tuple[str, tuple[str, Any]]]:
        """Each pair, the stronger ones later, with where it comes from."""
        if ctx.get_parameter_source(self.name) is ParameterSource.DEFAULT_MAP:
            given = ()
        for pair in (ctx.default_map or {}).get(self.name, ()):
            yield _place(ctx, self), pair
        yield from self._from_variables()
        from_variable = ctx.get_parameter_source(self.name) is ParameterSource.ENVIRONMENT
        for pair in given:
            yield self._variable() if from_variable else self.opts[0], pair

    def _from_variables(self) -> Iterator[tuple[str, tuple[str, str]]]:
        prefix = f"{self.envvar}_"
        for variable, value in os.environ.items():
            if self._variables and variable.startswith(prefix) and value:
                yield variable, (variable.removeprefix(prefix).lower(), value)


def framework_option(*param_decls: str, cls: type[Option] = Option, **attrs: Any) -> Callable[[F], F]:
    """`click.option` for an option that is also a variable and a key in a file."""
    return click.option(*param_decls, cls=cls, **attrs)


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    settings = ctx.ensure_object(Settings)
    settings.debug = settings.debug or value


def _read_config(ctx: click.Context, param: click.Parameter, file: Path | None) -> None:
    if file is None:
        return
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not valid TOML: {error}") from error
    ctx.default_map = _defaults(ctx, document, file)


def _debug_option() -> Option:
    return Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_debug,
        help="Log more, and show the traceback of an error.",
    )


def _config_option() -> Option:
    return Option(
        ["--config"],
        type=click.Path(dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        metavar="FILE.toml",
        help="File with options. Each option is also an environment variable, such as FRAMEWORK_STATE_DIR for "
        "--state-dir.",
    )


class Command(click.Command):
    """A command that takes `--config` and `--debug` too."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.params += [_config_option(), _debug_option()]

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace(_HYPHEN, "-")


class Group(click.Group):
    """A group of `Command`s that takes `--debug` too.

    The commands of `lazy`, name → (`module:attribute`, short help), are imported when they run.
    """

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.params.append(_debug_option())
        self._lazy = {name: target for name, (target, _) in (lazy or {}).items()}
        for name, (_, short_help) in (lazy or {}).items():
            self.add_command(click.Command(name, short_help=short_help))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._lazy:
            self.add_command(pkgutil.resolve_name(self._lazy[cmd_name]), cmd_name)
            del self._lazy[cmd_name]
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command.get_short_help_str(100)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


# What a file says


def _defaults(ctx: click.Context, document: dict[str, Any], file: Path) -> dict[str, Any]:
    """The file's values for the command of `ctx`, by parameter name. Raises `UsageError` for what cannot be used."""
    options = _options_by_key(ctx.command)
    defaults: dict[str, Any] = {}
    table, place = document, ""
    for level, following in _path(ctx):
        tables = level.list_commands(ctx) if isinstance(level, click.Group) else []
        for key, value in table.items():
            name = key.replace("_", "-")
            if key in tables and isinstance(value, dict):
                continue
            if option := options.get(name):
                ctx.meta[_PLACE + option.name] = f"{file}: {place}{key}"
                defaults[option.name] = _checked(option, value, ctx)
            elif name not in (known := _keys_below(level, ctx)):
                raise UsageError(f"{file}: unknown key {place}{key}{closest_or_all(name, [*known, *tables])}")
        table, place = table.get(following, {}), f"{place}{following}."
    return defaults


def _path(ctx: click.Context) -> list[tuple[click.Command, str]]:
    """The commands from the root down to the one of `ctx`, each with the name of the next."""
    chain: list[click.Context] = []
    at: click.Context | None = ctx
    while at is not None:
        chain.insert(0, at)
        at = at.parent
    names = [str(one.info_name) for one in chain[1:]]
    return [(one.command, name) for one, name in zip(chain, [*names, ""], strict=True)]


def _options_by_key(command: click.Command) -> dict[str, Option]:
    return {one.key: one for one in command.params if isinstance(one, Option) and one.key != "config"}


def _keys_below(command: click.Command, ctx: click.Context) -> set[str]:
    """The keys of every option that the command, or one below it, has."""
    keys = set(_options_by_key(command))
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            if below := command.get_command(ctx, name):
                keys |= _keys_below(below, ctx)
    return keys


_PLACE = "framework.cli.options.place."


def _place(ctx: click.Context, option: Option) -> str:
    """The file and the key in it that an option's value comes from."""
    return str(ctx.meta[_PLACE + option.name])


def _checked(option: Option, value: Any, ctx: click.Context) -> Any:
    try:
        return option.from_toml(value, ctx)
    except click.BadParameter as error:
        raise UsageError(f"{_place(ctx, option)}: {error.message}") from error


# Options that several commands share


def _log_format(ctx: click.Context, param: click.Parameter, value: Literal["text", "json"]) -> None:
    logs.configure(value, debug=ctx.ensure_object(Settings).debug)


def log_options(command: F) -> F:
    """`--log-format`; logging is configured by it, so the command gets no argument."""
    return framework_option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        expose_value=False,
        callback=_log_format,
        help="Format of the messages on stderr.",
    )(command)


def group_option(
    command: F,
    *,
    help: str = "Consumer group that owns the state. The default is framework-PLUGIN.",  # noqa: A002
) -> F:
    """`--group`: argument `group`, None by default."""
    return framework_option("--group", metavar="NAME", help=help)(command)


def store_options(command: F) -> F:
    """`--store`, `--store-option` and `--state-dir`.

    Arguments: `store` (text, see `framework.cli.stores`), `store_options` (a dict) and `state_dir` (a Path).
    """
    for option in (
        framework_option(
            "--state-dir",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("state"),
            show_default="./state",
            help="Directory of the stores sqlite and file, unless --store gives a location.",
        ),
        framework_option(
            "--store-option",
            "store_options",
            cls=MappingOption,
            help="Option of the store, such as lock_timeout=60. Repeatable.",
        ),
        framework_option(
            "--store",
            default="sqlite",
            show_default=True,
            metavar="NAME[:LOCATION]",
            help="Store of the state: sqlite, file or the store of a plugin. Add a location as in "
            "sqlite:/var/lib/state. A run may also use memory, which is its default on the embedded broker.",
        ),
    ):
        command = option(command)
    return command


def codec_option(command: F) -> F:
    """`--codec`: argument `codec`."""
    return framework_option(
        "--codec",
        default="json",
        show_default=True,
        metavar="json|msgpack",
        help="Codec in which state is stored. Stored state can be continued only with its own codec.",
    )(command)


class Servers(click.ParamType[str]):
    """`HOST:PORT`, separated by commas."""

    name = "servers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_servers(value)
        except SettingError as error:
            self.fail(f"{error}.", param, ctx)


def kafka_options(command: F) -> F:
    """`--bootstrap-servers`, `--kafka` and `--connect-timeout`.

    Arguments: `bootstrap_servers` (None by default), `kafka` (a dict, see `aiokafka_arguments`) and `connect_timeout`
    (seconds).
    """
    for option in (
        framework_option(
            "--connect-timeout",
            type=DURATION,
            default="30s",
            show_default=True,
            help="Time to wait for a broker that does not answer.",
        ),
        framework_option(
            "--kafka",
            cls=MappingOption,
            variables=True,
            check=check_setting,
            check_together=check_together,
            help="Setting of the Kafka client, such as security_protocol=SASL_SSL, sasl_mechanism, "
            "sasl_plain_username, sasl_plain_password, ssl_cafile. Each is also a variable FRAMEWORK_KAFKA_<SETTING>. "
            "Repeatable.",
        ),
        framework_option(
            "--bootstrap-servers",
            envvar=["FRAMEWORK_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"],
            show_envvar=True,
            type=Servers(),
            metavar="HOST:PORT,…",
            help="Servers of the Kafka cluster.",
        ),
    ):
        command = option(command)
    return command


def aiokafka_arguments(client: type, kafka: Mapping[str, Any]) -> dict[str, Any]:
    """The `--kafka` settings as arguments of one of aiokafka's clients; what only the others know is left out.

    Raises `UsageError` for certificates that cannot be read.
    """
    import inspect

    from aiokafka.helpers import create_ssl_context

    known = inspect.signature(client).parameters
    arguments = {name: value for name, value in kafka.items() if name in known}
    if "SSL" in arguments.get("security_protocol", ""):
        files = {name.removeprefix("ssl_"): value for name, value in kafka.items() if name.startswith("ssl_")}
        try:
            arguments["ssl_context"] = create_ssl_context(**files)
        except (OSError, ValueError) as error:
            named = ", ".join(f"{name}={value}" for name, value in files.items() if name != "password")
            raise UsageError(f"cannot use the TLS files ({named}): {error}") from error
    return arguments
