"""Logins in a Docker configuration file, as in Secrets of type kubernetes.io/dockerconfigjson."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from webhook.small_files import read_at_once
from webhook.swr.credentials.files import SecretFiles

MAX_FILE: Final = 1024 * 1024
"""Bytes of a file: the most that a Secret can have."""


@dataclass(frozen=True, slots=True)
class UserLogin:
    """A user and a password for Basic authentication."""

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of ``Authorization`` (RFC 7617)."""
        text = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(text).decode()}"


def open_docker_config(path: str, hosts: Collection[str]) -> SecretFiles[UserLogin]:
    """Return the login for the first of ``hosts`` that has an entry in a Docker configuration file."""

    def read() -> UserLogin:
        data = read_at_once(path, MAX_FILE + 1)
        try:
            return read_docker_config(data, hosts)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from None

    return SecretFiles([path], read)


def read_docker_config(data: bytes, hosts: Collection[str]) -> UserLogin:
    """Return the login for the first of ``hosts`` that has an entry.

    A key with a path, which the kubelet uses for a part of a registry, is not used: one login reads all
    images.

    Raises:
        ValueError: there is none; the text is a clause that continues the name of the file.
    """
    if len(data) > MAX_FILE:
        raise ValueError(f"is larger than {MAX_FILE} bytes")
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise ValueError("is not JSON") from None
    entries = value.get("auths") if isinstance(value, dict) else None
    if not isinstance(entries, dict):
        raise ValueError("has no object auths")  # noqa: TRY004 - the caller handles one class
    by_host: dict[str, Any] = {}
    with_path: set[str] = set()
    for key, entry in entries.items():
        host, path = _split(key)
        if path:
            with_path.add(host)
        else:
            by_host.setdefault(host, entry)
    for host in hosts:
        entry = entries.get(host, by_host.get(host.lower()))
        if entry is not None:
            return _read_entry(entry, host)
    for host in hosts:
        if host.lower() in with_path:
            raise ValueError(
                f"has a login for {host} only with a path after the host: "
                f"write the key {host}, with a login that may pull all images"
            )
    raise ValueError(f"has no login for {' or '.join(hosts)}")


def _split(key: str) -> tuple[str, str]:
    """Return the host of a key, which docker writes as a host or as a URL, and its path.

    Docker and the kubelet ignore the paths ``/v1/`` and ``/v2/``. For any other path, the kubelet uses the
    login only for repositories below it.
    """
    host, _, path = key.removeprefix("https://").removeprefix("http://").partition("/")
    path = path.rstrip("/")
    return host.lower(), "" if path in ("v1", "v2") else path


def _read_entry(entry: Any, host: str) -> UserLogin:
    if not isinstance(entry, dict):
        raise ValueError(f"has an entry for {host} that is not an object")  # noqa: TRY004 - as above
    user, password = entry.get("username"), entry.get("password")
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        try:
            text = base64.b64decode(auth, validate=True).decode()
        except (binascii.Error, UnicodeError):
            raise ValueError(f"has an auth for {host} that is not base64") from None
        user, _, password = text.rstrip("\0").partition(":")
    if isinstance(user, str) and isinstance(password, str) and _is_login(user, password):
        return UserLogin(user, password)
    raise ValueError(f"has no user and password for {host}")


def _is_login(user: str, password: str) -> bool:
    """Return whether both can be sent by Basic authentication."""
    return bool(user and password) and ":" not in user and (user + password).isprintable()
