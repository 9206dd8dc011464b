"""The options of all formats of this package."""

import os
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator

from framework import UsageError
from framework.formats import FormatOptions

__all__ = ["PASSWORD_VARIABLE", "USER_VARIABLE", "RegistryOptions"]

USER_VARIABLE: Final = "FRAMEWORK_SCHEMA_REGISTRY_USER"
PASSWORD_VARIABLE: Final = "FRAMEWORK_SCHEMA_REGISTRY_PASSWORD"  # noqa: S105 - the name of a variable


class RegistryOptions(FormatOptions):
    """The registry, how to log in there, and the schemas of one's own."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a URL that is refused may hold a password

    url: str = Field(description="URL of the registry; several of one registry are separated by commas")
    user: str | None = Field(default=None, description=f"User for basic authentication, or else {USER_VARIABLE}")
    password: SecretStr | None = Field(
        default=None, description=f"Password for basic authentication, or else {PASSWORD_VARIABLE}"
    )
    ca_file: str | None = Field(default=None, description="PEM file with the certificates to trust")
    cert_file: str | None = Field(default=None, description="PEM file with the client's certificate")
    key_file: str | None = Field(
        default=None, description="PEM file with the key of the client's certificate, if it is not in cert_file"
    )
    reader_schema: str | None = Field(
        default=None,
        description="sr-avro: file with the schema (.avsc) in which values are read; the default is the writer's",
    )
    message: str | None = Field(
        default=None,
        description="sr-protobuf: type of the messages with its package, such as shop.Order. Values of other types are "
        "refused. The default for reading is any type, and for outputs the first type of the schema",
    )
    decimals: bool = Field(
        default=False, description="sr-json: read numbers with a fraction or an exponent as decimals, for exact sums"
    )
    schema_file: str | None = Field(
        default=None,
        description="For outputs: file with the schema in which values are written: .avsc, JSON Schema, or .proto",
    )
    auto_register: bool = Field(
        default=True,
        description="For outputs: register the schema if the registry does not have it. Without, it must be there",
    )
    subject_strategy: Literal["topic", "record", "topic-record"] = Field(
        default="topic",
        description="For outputs: the schema's subject: TOPIC-value or TOPIC-key, the record's name, or TOPIC-NAME",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        for each in url.split(","):  # urlsplit raises ValueError for ports and addresses that cannot be
            parts = urlsplit(each.strip())
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
                raise ValueError("give a URL such as http://localhost:8081")
            if parts.username or parts.password:
                raise ValueError("it must not hold a user or a password; give them as the options user and password")
        return url

    def credentials(self) -> str | None:
        """The secret `USER:PASSWORD`, from the options or the environment; None without a user.

        Raises `UsageError` for a password without a user, and for a user that basic authentication cannot have.
        """
        user = self.user or os.environ.get(USER_VARIABLE)
        password = self.password.get_secret_value() if self.password else os.environ.get(PASSWORD_VARIABLE)
        if not user:
            if password:
                raise UsageError(f"the Schema Registry has a password, but no user; set user or {USER_VARIABLE}")
            return None
        if ":" in user:
            raise UsageError("the option user of the Schema Registry has a colon, which basic authentication forbids")
        return f"{user}:{password or ''}"
