"""Certificates of private CAs: some that curl and kubectl accept, some that they reject."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.tls_serving import TlsServer

DAY: Final = dt.timedelta(days=1)
NAMES: Final = ("localhost", "127.0.0.1", "swr-api.example.com")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The extensions of a certificate. The defaults are those of RFC 5280."""

    names: tuple[str, ...] = ()
    ca: bool | None = None
    ca_critical: bool = True
    key_usage: tuple[str, ...] | None = None
    identifiers: bool = True
    common_name: str | None = "private"
    starts: dt.timedelta = -DAY
    ends: dt.timedelta = 30 * DAY
    purpose: x509.ObjectIdentifier | None = None


CA: Final = Recipe(ca=True, key_usage=("key_cert_sign", "crl_sign"), common_name="private CA")
LEAF: Final = Recipe(names=NAMES, key_usage=("digital_signature",), purpose=ExtendedKeyUsageOID.SERVER_AUTH)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as PEM."""
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def issue(recipe: Recipe, issuer: Issued | None = None) -> Issued:
    """Issue a certificate; without ``issuer`` it is self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, recipe.common_name)] if recipe.common_name else []
    subject = x509.Name(attributes)
    signer = issuer.key if issuer else key
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + recipe.starts)
        .not_valid_after(now + recipe.ends)
    )
    if recipe.ca is not None:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=recipe.ca, path_length=None), critical=recipe.ca_critical
        )
    if recipe.names:
        names = x509.SubjectAlternativeName([_general_name(name) for name in recipe.names])
        builder = builder.add_extension(names, critical=False)
    if recipe.key_usage is not None:
        builder = builder.add_extension(_key_usage(recipe.key_usage), critical=True)
    if recipe.purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([recipe.purpose]), critical=False)
    if recipe.identifiers:
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        its = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(own, critical=False).add_extension(its, critical=False)
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(usages: tuple[str, ...]) -> x509.KeyUsage:
    every = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment"]
    every += ["key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{usage: usage in usages for usage in every})


@dataclass(frozen=True, slots=True)
class Site:
    """The certificates of a server, and those that its clients trust."""

    trusted: bytes
    chain: bytes
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, ca: Recipe = CA, leaf: Recipe = LEAF) -> Self:
        """Return a server whose certificate is issued by a trusted root."""
        root = issue(ca)
        server = issue(leaf, root)
        return cls(root.pem, server.pem, server.key_pem)

    @classmethod
    def self_signed(cls, leaf: Recipe = LEAF) -> Self:
        """Return a server with a self-signed certificate that clients trust."""
        server = issue(leaf)
        return cls(server.pem, server.pem, server.key_pem)

    @classmethod
    def with_intermediate(cls, intermediate: Recipe = CA, *, trust_root: bool = True) -> Self:
        """Return a server with an intermediate CA; clients trust the root or only the intermediate."""
        root = issue(replace(CA, common_name="private root"))
        middle = issue(intermediate, root)
        server = issue(LEAF, middle)
        return cls(root.pem if trust_root else middle.pem, server.pem + middle.pem, server.key_pem)

    def server_context(self, folder: Path) -> SSLContext:
        """Return the TLS context of the server; writes ``chain.pem`` and ``key.pem`` into ``folder``."""
        chain, key = folder / "chain.pem", folder / "key.pem"
        chain.write_bytes(self.chain)
        key.write_bytes(self.key)
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        return context

    def write_trusted(self, folder: Path) -> str:
        """Write the trusted certificates and return the path."""
        path = folder / "trusted.pem"
        path.write_bytes(self.trusted)
        return str(path)


MakeSite = Callable[[], Site]

_WITHOUT_KEY_USAGE = replace(CA, key_usage=None)

ACCEPTED: Final[dict[str, MakeSite]] = {
    "as RFC 5280 wants it": Site.of,
    "CA without keyUsage": lambda: Site.of(_WITHOUT_KEY_USAGE),
    "CA with nothing but CA:TRUE": lambda: Site.of(replace(_WITHOUT_KEY_USAGE, identifiers=False)),
    "CA with basicConstraints that is not critical": lambda: Site.of(replace(CA, ca_critical=False)),
    "leaf without authority key identifier": lambda: Site.of(leaf=replace(LEAF, identifiers=False)),
    "leaf without extensions but its names": lambda: Site.of(
        _WITHOUT_KEY_USAGE, Recipe(names=NAMES, identifiers=False)
    ),
    "leaf without a subject": lambda: Site.of(leaf=replace(LEAF, common_name=None)),
    "leaf that is its own CA": lambda: Site.self_signed(replace(LEAF, ca=False)),
    "leaf that is its own CA, as openssl req -x509 makes it": lambda: Site.self_signed(
        Recipe(names=NAMES, ca=True)
    ),
    "intermediate without keyUsage": lambda: Site.with_intermediate(_WITHOUT_KEY_USAGE),
    "trusted intermediate without its root": lambda: Site.with_intermediate(trust_root=False),
}
"""Servers that curl and kubectl accept, by their unusual property."""

REFUSED: Final[dict[str, tuple[MakeSite, str]]] = {
    "another CA of the same name": (
        lambda: replace(Site.of(leaf=replace(LEAF, identifiers=False)), trusted=issue(CA).pem),
        "certificate signature failure",
    ),
    "another CA": (
        lambda: replace(Site.of(), trusted=issue(replace(CA, common_name="another CA")).pem),
        "unable to get local issuer certificate",
    ),
    "another CA without keyUsage": (
        lambda: replace(Site.of(_WITHOUT_KEY_USAGE), trusted=issue(replace(CA, common_name="another")).pem),
        "unable to get local issuer certificate",
    ),
    "another self-signed leaf": (
        lambda: replace(Site.self_signed(), trusted=Site.self_signed().trusted),
        "self-signed certificate",
    ),
    "another name": (
        lambda: Site.of(leaf=replace(LEAF, names=("swr.example.com", "127.0.0.2"))),
        "IP address mismatch, certificate is not valid for '127.0.0.1'.",
    ),
    "expired leaf": (
        lambda: Site.of(leaf=replace(LEAF, starts=-2 * DAY, ends=-DAY)),
        "certificate has expired",
    ),
    "expired leaf that is its own CA": (
        lambda: Site.self_signed(replace(LEAF, starts=-2 * DAY, ends=-DAY)),
        "certificate has expired",
    ),
    "leaf of tomorrow": (lambda: Site.of(leaf=replace(LEAF, starts=DAY)), "certificate is not yet valid"),
    "expired CA": (
        lambda: Site.of(replace(_WITHOUT_KEY_USAGE, starts=-2 * DAY, ends=-DAY)),
        "certificate has expired",
    ),
    "issuer that is not a CA": (lambda: Site.of(replace(CA, ca=False)), "invalid CA certificate"),
    "CA that may not sign certificates": (
        lambda: Site.of(replace(CA, key_usage=("digital_signature",))),
        "invalid CA certificate",
    ),
    "certificate of a client": (
        lambda: Site.of(leaf=replace(LEAF, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)),
        "unsuitable certificate purpose",
    ),
}
"""Servers that curl and kubectl reject, with OpenSSL's reason."""


class HttpsServer(TlsServer):
    """HTTPS server on the loopback address. ``answer`` maps a path and a body to JSON."""

    def __init__(self, context: SSLContext, answer: Callable[[str, bytes], bytes] | None = None) -> None:
        """Listen on a free port."""
        self._answer = answer or (lambda _path, _body: b"{}")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                data = outer._answer(self.path, body)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 - the names of http.server

            def log_message(self, format: str, *args: Any) -> None:
                """Do not log."""

        super().__init__(Handler, context)
        self.url = f"https://127.0.0.1:{self.port}"
