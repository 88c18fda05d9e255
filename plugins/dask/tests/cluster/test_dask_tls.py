"""A cluster that lets in only who has a certificate: what Dask's own configuration says is what is used."""

from __future__ import annotations

import datetime
import ipaddress
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from longshore import Settings, WorkerPool
from longshore.errors import LongshoreError
from opentelemetry import context as otel_context
from opentelemetry import trace

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

_NOW = datetime.datetime.now(datetime.UTC)
TRACE, SPAN = 0xABC, 0xDEF


class Authority:
    """One that signs certificates, and says who has any."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = self._write("ca.pem", self._sign(self._name, self._key, is_authority=True))

    def certify(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate for 127.0.0.1, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        secret = self._folder / f"{name}.key"
        secret.write_bytes(key.private_bytes(*pem))
        return self._write(f"{name}.pem", self._sign(subject, key)), secret

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool = False
    ) -> x509.Certificate:
        day = datetime.timedelta(days=1)
        where = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(_NOW - day)
            .not_valid_after(_NOW + day)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(where, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


@contextmanager
def configured(authority: Authority) -> Iterator[None]:
    """Have Dask's configuration give its client a certificate of this authority."""
    certificate, key = authority.certify("client")
    client = {"client.cert": certificate, "client.key": key, "ca-file": authority.file}
    said = {f"distributed.comm.tls.{name}": str(file) for name, file in client.items()}
    with dask.config.set({**said, "distributed.comm.require-encryption": True}):
        yield


def span_here(_: int) -> str:
    """Return the span that the task is in."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:x}-{found.span_id:x}"


async def spans(address: str) -> list[str]:
    """Return the spans that tasks on the cluster are in, submitted within one."""
    settings = Settings(probes=(), executors={"dask": {"address": address, "connect_timeout_s": 5.0}})
    caller = trace.NonRecordingSpan(trace.SpanContext(TRACE, SPAN, False, trace.TraceFlags(1)))
    async with WorkerPool(settings=settings) as pool:
        token = otel_context.attach(trace.set_span_in_context(caller))
        try:
            stream = pool.options(executor="dask").map(span_here, range(20))
        finally:
            otel_context.detach(token)
        return [span async for span in stream]


async def test_dask_over_tls(cluster: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a certificate tasks run there, in the span they were submitted in; with another one, nobody gets in."""
    authority = Authority(tmp_path / "ours", "ours")
    certificate, key = authority.certify("cluster")
    files = ("--tls-ca-file", str(authority.file), "--tls-cert", str(certificate), "--tls-key", str(key))
    theirs = cluster("--protocol", "tls", *files)
    assert theirs.address.startswith("tls://127.0.0.1:")
    theirs.add_worker()
    with configured(authority), caplog.at_level(logging.INFO, "longshore.dask"):
        assert set(await spans(theirs.address)) == {f"{TRACE:x}-{SPAN:x}"}
        assert "no authentication" not in caplog.text
    with configured(Authority(tmp_path / "strangers", "strangers")), pytest.raises(LongshoreError) as caught:
        await spans(theirs.address)
    assert f"no Dask scheduler answers at {theirs.address}" in str(caught.value)
