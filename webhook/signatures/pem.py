"""Reading the file of a public key: PEM with exactly one SubjectPublicKeyInfo (RFC 7468, section 13)."""

from __future__ import annotations

import base64
import re
from typing import Final

from webhook.errors import SigningKeyError

MAX_KEY_FILE: Final = 64 * 1024
"""Maximum bytes of a file. RSA 4096 has 800."""

_LABEL: Final = "PUBLIC KEY"

_BEGIN: Final = re.compile(r"-----BEGIN ([^\r\n-]{1,64})-----")
_BLOCK: Final = re.compile(rf"-----BEGIN {_LABEL}-----([A-Za-z0-9+/=\s]*)-----END {_LABEL}-----")

_REMEDIES: Final = {
    "CERTIFICATE": "is a certificate: give its public key, as by openssl x509 -in FILE -noout -pubkey",
    "RSA PUBLIC KEY": "is in PKCS#1: convert it with openssl rsa -RSAPublicKey_in -in FILE -pubout",
    "CERTIFICATE REQUEST": "is a certificate request: give its public key, as by "
    "openssl req -in FILE -noout -pubkey",
    "PGP PUBLIC KEY BLOCK": "is an OpenPGP key: sign with cosign or KMS, and give the public key of that",
}
"""Remedies for files that are given by mistake, by the label of their PEM block."""

_WANTED: Final = f"give one PEM block with the label {_LABEL}"


def decode_pem(data: bytes) -> bytes:
    """Return the content of the only PEM block, in DER.

    Text around the block is a comment (RFC 7468, section 2).

    Raises:
        SigningKeyError: the file is another kind of file.
    """
    if len(data) > MAX_KEY_FILE:
        raise SigningKeyError(f"has more than {MAX_KEY_FILE // 1024} KiB: {_WANTED}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SigningKeyError(_describe_binary(data)) from None
    labels = _BEGIN.findall(text)
    if any("PRIVATE KEY" in label for label in labels):
        raise SigningKeyError(
            "is a private key: give the public key, as by openssl pkey -in FILE -pubout or "
            "cosign public-key, and replace the key if others could read it"
        )
    if not labels:
        raise SigningKeyError(_describe_text(text))
    if len(labels) > 1:
        raise SigningKeyError("has several PEM blocks: give each key its own file and its own name")
    if labels[0] != _LABEL:
        raise SigningKeyError(_REMEDIES.get(labels[0], f"is a PEM block of another kind: {_WANTED}"))
    block = _BLOCK.search(text)
    try:
        return base64.b64decode("".join(block[1].split()), validate=True) if block else _fail_incomplete()
    except ValueError:
        return _fail_incomplete()


def _fail_incomplete() -> bytes:
    raise SigningKeyError("is an incomplete or damaged PEM block: copy the whole file again")


def _describe_binary(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is UTF-16 text, as PowerShell writes it: save it as ASCII or UTF-8"
    if data.startswith(b"0"):  # the tag of a sequence in DER
        return "is DER: convert it to PEM with openssl pkey -pubin -inform DER -in FILE -pubout"
    return f"is not text: {_WANTED}"


def _describe_text(text: str) -> str:
    if not text.strip():
        return f"is empty: {_WANTED}"
    if text.lstrip().startswith(("ssh-", "ecdsa-sha2-", "---- BEGIN SSH2 PUBLIC KEY")):
        return "is an SSH key: convert it with ssh-keygen -f FILE -e -m PKCS8"
    return f"is not PEM: {_WANTED}"
