"""The file of a public key: one PEM block, or a text that names the remedy."""

from __future__ import annotations

import base64

import pytest

from tests.signing.making import signer, to_pem
from webhook.errors import SigningKeyError
from webhook.signatures.pem import MAX_KEY_FILE, decode_pem

DER = signer("p256").key.der
PEM = signer("p256").pem

ACCEPTED = {
    "as written": PEM,
    "without a line feed at the end": PEM.rstrip(),
    "with carriage returns": PEM.replace(b"\n", b"\r\n"),
    "with a byte order mark": b"\xef\xbb\xbf" + PEM,
    "with a comment": b"# release key, 2026\n\n" + PEM + b"\n# end\n",
    "in one line": to_pem(DER).replace(b"\n", b"").replace(b"KEY-----M", b"KEY-----\nM"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_only_block_is_decoded(name: str) -> None:
    """Text around it is a comment (RFC 7468, section 2)."""
    assert decode_pem(ACCEPTED[name]) == DER


PRIVATE = (
    "is a private key: give the public key, as by openssl pkey -in FILE -pubout or cosign public-key, and replace "
    "the key if others could read it"
)
WANTED = "give one PEM block with the label PUBLIC KEY"
DAMAGED = "is an incomplete or damaged PEM block: copy the whole file again"
SECRET = b"secret content"

REFUSED = {
    "nothing": (b"", f"is empty: {WANTED}"),
    "white space": (b" \n\n", f"is empty: {WANTED}"),
    "text": (SECRET, f"is not PEM: {WANTED}"),
    "a YAML file": (b"apiVersion: v1\nkind: Secret\n", f"is not PEM: {WANTED}"),
    "bytes": (b"\x89PNG\xff", f"is not text: {WANTED}"),
    "UTF-16": (
        b"\xff\xfe" + PEM.decode().encode("utf-16-le"),
        "is UTF-16 text, as PowerShell writes it: save it as ASCII or UTF-8",
    ),
    "DER": (DER, "is DER: convert it to PEM with openssl pkey -pubin -inform DER -in FILE -pubout"),
    "a large file": (b"x" * (MAX_KEY_FILE + 1), f"has more than 64 KiB: {WANTED}"),
    "a private key": (to_pem(SECRET, "PRIVATE KEY"), PRIVATE),
    "an encrypted private key": (to_pem(SECRET, "ENCRYPTED PRIVATE KEY"), PRIVATE),
    "a private key of cosign": (to_pem(SECRET, "ENCRYPTED SIGSTORE PRIVATE KEY"), PRIVATE),
    "a private key of cosign 1": (to_pem(SECRET, "ENCRYPTED COSIGN PRIVATE KEY"), PRIVATE),
    "a private key of RSA": (to_pem(SECRET, "RSA PRIVATE KEY"), PRIVATE),
    "a private key of OpenSSH": (to_pem(SECRET, "OPENSSH PRIVATE KEY"), PRIVATE),
    "a private key after its parameters": (
        to_pem(SECRET, "EC PARAMETERS") + to_pem(SECRET, "EC PRIVATE KEY"),
        PRIVATE,
    ),
    "both keys of a pair": (PEM + to_pem(SECRET, "PRIVATE KEY"), PRIVATE),
    "a certificate": (
        to_pem(SECRET, "CERTIFICATE"),
        "is a certificate: give its public key, as by openssl x509 -in FILE -noout -pubkey",
    ),
    "a certificate request": (
        to_pem(SECRET, "CERTIFICATE REQUEST"),
        "is a certificate request: give its public key, as by openssl req -in FILE -noout -pubkey",
    ),
    "PKCS#1": (
        to_pem(SECRET, "RSA PUBLIC KEY"),
        "is in PKCS#1: convert it with openssl rsa -RSAPublicKey_in -in FILE -pubout",
    ),
    "OpenPGP": (
        to_pem(SECRET, "PGP PUBLIC KEY BLOCK"),
        "is an OpenPGP key: sign with cosign or KMS, and give the public key of that",
    ),
    "SSH, RFC 4716": (
        b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n",
        "is an SSH key: convert it with ssh-keygen -f FILE -e -m PKCS8",
    ),
    "SSH": (
        b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ user@host\n",
        "is an SSH key: convert it with ssh-keygen -f FILE -e -m PKCS8",
    ),
    "SSH, ECDSA": (
        b"ecdsa-sha2-nistp256 AAAAE2VjZHNh user@host\n",
        "is an SSH key: convert it with ssh-keygen -f FILE -e -m PKCS8",
    ),
    "another block": (to_pem(SECRET, "CMS"), f"is a PEM block of another kind: {WANTED}"),
    "two keys": (
        PEM + signer("other").pem,
        "has several PEM blocks: give each key its own file and its own name",
    ),
    "the same key twice": (PEM + PEM, "has several PEM blocks: give each key its own file and its own name"),
    "no end": (PEM.partition(b"-----END")[0], DAMAGED),
    "another end": (PEM.replace(b"END PUBLIC", b"END RSA"), DAMAGED),
    "not base64": (PEM.replace(b"MFkw", b"M*kw"), DAMAGED),
    "a part": (PEM.replace(base64.b64encode(DER)[10:13], b"", 1), DAMAGED),
    "header fields": (PEM.replace(b"KEY-----\nM", b"KEY-----\nProc-Type: 4\n\nM"), DAMAGED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_file_is_named_with_remedy(name: str) -> None:
    """The text quotes nothing of the file, which may be a private key."""
    content, message = REFUSED[name]
    with pytest.raises(SigningKeyError) as caught:
        decode_pem(content)
    assert str(caught.value) == message
    assert caught.value.__cause__ is None
