"""A broker with TLS, SASL and ACLs, from Kafka's jars, and certificates for it, made with the JDK's keytool."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it re-exports them without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from framework.testing.brokers.jars import KafkaJars

__all__ = ["PASSWORD", "SecureKafka", "make_certificate"]

PASSWORD = "correct-horse"  # noqa: S105 - of the users and the keys of one test's broker
_SECONDS = 60.0
_LISTENERS = {
    "SSL": "SSL",
    "MTLS": "SSL",
    "SASL_PLAINTEXT": "SASL_PLAINTEXT",
    "SASL_SSL": "SASL_SSL",
}
_USERS = ("ann", "bob", "eve")


def make_certificate(directory: Path, name: str, addresses: str = "ip:127.0.0.1,dns:localhost") -> tuple[Path, Path]:
    """A key with a certificate that signs itself: the keystore (PKCS12), and the certificate alone (PEM)."""
    store, pem = directory / f"{name}.p12", directory / f"{name}.pem"
    common = ["-keystore", str(store), "-storetype", "PKCS12", "-storepass", PASSWORD, "-alias", name]
    extensions = ["-ext", f"san={addresses}", "-ext", "bc:critical=ca:true", "-ext", "ku:critical=dS,kCS"]
    subject = ["-dname", f"CN={name}", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2"]
    _keytool("-genkeypair", *common, *subject, *extensions)
    _keytool("-exportcert", "-rfc", *common, "-file", str(pem))
    return store, pem


def _keytool(*arguments: str) -> None:
    home = os.environ.get("JAVA_HOME")
    tool = shutil.which("keytool", path=f"{home}/bin" if home else None) or "keytool"
    subprocess.run([tool, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=True)


@dataclass(frozen=True)
class SecureKafka:
    """A running broker: `admin_servers` lets everybody do everything, `servers` has a listener of each protocol.

    Users `ann`, `bob` and `eve` may log in by PLAIN and SCRAM-SHA-256 with `PASSWORD`; what they may do, `allow` says.
    """

    admin_servers: str
    servers: Mapping[str, str]
    """By protocol, and `MTLS`, where clients need a certificate."""
    ca_file: Path
    """The certificate to trust."""

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> "Iterator[SecureKafka]":
        store, certificate = make_certificate(directory, "broker")
        with KafkaJars(directory, _properties(store), listeners=[*_LISTENERS]) as kafka:
            _create_users(kafka.bootstrap_servers)
            yield cls(kafka.bootstrap_servers, {**kafka.listeners, "PLAINTEXT": kafka.bootstrap_servers}, certificate)

    def allow(self, user: str, operation: str, *, topic: str | None = None, group: str | None = None) -> None:
        """Grant an ACL on a topic or a group, and wait until the broker has it."""
        kind = ResourceType.GROUP if topic is None else ResourceType.TOPIC
        what = (AclOperation[operation], AclPermissionType.ALLOW)
        acl = AclBinding(kind, topic or group or "", ResourcePatternType.LITERAL, f"User:{user}", "*", *what)
        admin = AdminClient({"bootstrap.servers": self.admin_servers})
        for future in admin.create_acls([acl], request_timeout=_SECONDS).values():
            future.result(_SECONDS)


def _properties(store: Path) -> dict[str, str]:
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **_LISTENERS}
    users = " ".join(f'user_{user}="{PASSWORD}"' for user in _USERS)
    security = "org.apache.kafka.common.security"
    properties = {
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "inter.broker.listener.name": "PLAINTEXT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(store),
        "ssl.keystore.password": PASSWORD,
        "ssl.key.password": PASSWORD,
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.mtls.ssl.truststore.type": "PKCS12",
        "listener.name.mtls.ssl.truststore.location": str(store),
        "listener.name.mtls.ssl.truststore.password": PASSWORD,
    }
    for listener in ("sasl_plaintext", "sasl_ssl"):
        jaas = f"listener.name.{listener}.{{}}.sasl.jaas.config"
        properties[jaas.format("plain")] = f"{security}.plain.PlainLoginModule required {users};"
        properties[jaas.format("scram-sha-256")] = f"{security}.scram.ScramLoginModule required;"
    return properties


def _create_users(servers: str) -> None:
    credentials = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    users: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, credentials, PASSWORD.encode()) for user in _USERS
    ]
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.alter_user_scram_credentials(users, request_timeout=_SECONDS).values():
        future.result(_SECONDS)
