"""A registry that speaks TLS."""

import asyncio
import datetime
import ipaddress
import logging
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from framework import UsageError

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}
DATA = b"\x00\x00\x00\x00\x01\x0e"


@pytest.fixture
def certificate(tmp_path):
    """A certificate that signs itself, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "registry.pem", tmp_path / "registry.key"
    pem[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    format_ = serialization.PrivateFormat.PKCS8
    pem[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, format_, serialization.NoEncryption()))
    return str(pem[0]), str(pem[1])


@pytest.fixture
def secured(registry, certificate):
    """The registry, with TLS."""
    registry.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    registry.tls.load_cert_chain(*certificate)
    registry.add("orders-value", ORDER)
    registry.stop()
    registry.start()
    return registry


async def test_a_certificate_that_is_trusted(make, secured, certificate):
    assert secured.url.startswith("https")
    form = await make("sr-avro", ca_file=certificate[0])
    await form.missing([DATA])
    assert form.read(DATA) == {"n": 7}


async def test_a_certificate_that_is_not_trusted_ends_the_run(make, secured):
    with pytest.raises(UsageError, match=r"the certificate of .* is not trusted: self-signed .*option ca_file"):
        await (await make("sr-avro")).missing([DATA])


async def test_a_registry_that_wants_a_certificate(make, secured, certificate, caplog):
    caplog.set_level(logging.INFO, "framework.schemaregistry")
    secured.tls.verify_mode = ssl.CERT_REQUIRED
    secured.tls.load_verify_locations(certificate[0])
    form = await make("sr-avro", ca_file=certificate[0], cert_file=certificate[0], key_file=certificate[1])
    await form.missing([DATA])
    assert form.read(DATA) == {"n": 7}
    waiting = asyncio.ensure_future((await make("sr-avro", ca_file=certificate[0])).missing([DATA]))
    while not caplog.records:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()
