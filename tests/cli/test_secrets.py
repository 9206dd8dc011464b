"""A secret option reaches the processor, and is never printed, also when a command fails."""

from pathlib import Path

import pytest

from tests.end_to_end.worker import framework

SECRET = "correct-horse"  # noqa: S105 - nobody's password
PLUGIN = f"""
from framework import Options, Processor, RecordError
from pydantic import BaseModel, Field, SecretStr


class Login(BaseModel):
    token: SecretStr = Field(SecretStr("{SECRET}"), max_length=20)
    retries: int = 3


class Guarded(Processor):
    api_version = 1

    class Options(Options):
        password: SecretStr = Field(SecretStr("{SECRET}"), max_length=20)
        login: Login = Login()
        retries: int = 3

    def process(self, record, state, out):
        if record.key == "bad":
            raise RecordError(f"refused with {{self.options}}")
        state[record.key] = self.options.password.get_secret_value() == "{SECRET}"
"""
RUN = ["run", "--plugin", "guarded.py", "--input", "a.tsv", "--stop-at-end"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "guarded.py").write_text(PLUGIN)
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "long").write_text(f"{SECRET}{SECRET}\n")
    (tmp_path / "a.tsv").write_text("a\t1\n")
    (tmp_path / "bad.tsv").write_text("bad\t1\n")
    (tmp_path / "config.toml").write_text('[run.option]\npassword = "@file:secret"\nlogin = {token = "@env:TOKEN"}\n')
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "given",
    [
        ["--option", "password=@file:secret"],
        ["--option", "password=@env:TOKEN"],
        ["--option", f"password={SECRET}"],
        ["--config", "config.toml"],
    ],
)
def test_the_processor_gets_the_secret_and_nobody_else(folder: Path, given: list[str]) -> None:
    done = framework(*RUN, *given, "--debug", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert '"value": true' in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        ([*RUN, "--option", "password=@file:long"], 2, "password: its length must be 20 or less"),
        ([*RUN, "--option", f"login.token={SECRET}{SECRET}"], 2, "login.token: its length must be 20 or less"),
        ([*RUN, "--option", "password=@env:TOKEN", "--option", "retries=x"], 2, "retries: it must be a whole number"),
        ([*RUN, "--option", f"retries={SECRET}"], 2, "retries: it must be a whole number"),
        ([*RUN, "--option", f"pasword={SECRET}"], 2, "unknown option pasword (did you mean password?)"),
        ([*RUN, "--option", f"login={SECRET}"], 2, "login: it must be a table"),
        ([*RUN, "--option", f"login={SECRET}", "--option", "login.retries=1"], 2, "login is given as a value"),
        ([*RUN, "--config", "config.toml", "--option", "login.token=x", "--option", "login.retries=x"], 2,
         "login.retries: it must be a whole number"),
        ([*RUN, "--option", "password=@file:gone"], 2, "password: the file gone cannot be read: No such file"),
        ([*RUN, "--option", "password=@env:GONE"], 2, "password: the environment variable GONE is not set"),
        ([*RUN, "--input", "bad.tsv", "--option", "password=@file:secret"], 1, "refused with"),
        (["check", "guarded.py", "--option", "password=@file:long"], 2, "password: its length must be 20 or less"),
        (["check", "guarded.py", "--input", "bad.tsv", "--option", "password=@file:secret"], 2, "refused with"),
        (["plugins", "info", "guarded.py"], 0, "hidden"),
        (["plugins", "info", "guarded.py", "--json"], 0, '"password"'),
    ],
)  # fmt: skip
def test_a_command_does_not_print_the_secret(folder: Path, args: list[str], status: int, told: str) -> None:
    for debug in ([], ["--debug"]):
        done = framework(*args, *debug, cwd=folder)
        output = done.stdout + done.stderr
        assert done.returncode == status, output
        assert told in output
        assert SECRET not in output
