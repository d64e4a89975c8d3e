"""Logins in a Docker configuration file, as in Secrets of type kubernetes.io/dockerconfigjson.

The file is read again when it changes. If it becomes unreadable, the last good login stays.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from webhook.deadlines import Deadline
from webhook.errors import Fault, Unauthorized
from webhook.file_stamps import Stamp, read_settled, read_stamp
from webhook.small_files import read_at_once

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


class DockerConfigFile:
    """Implements ``SecretSource`` by the entry of one registry in a Docker configuration file."""

    def __init__(self, path: str, hosts: Collection[str]) -> None:
        """Use the entry of the first of ``hosts`` that has one; nothing is read before the first use."""
        self._path = path
        self._hosts = tuple(hosts)
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._login: UserLogin | None = None
        self._generation = 0

    def current(self, deadline: Deadline) -> tuple[UserLogin, int]:
        """Return the login, and a generation that counts its changes.

        Raises:
            Unauthorized: the file contains no login for the registry, and never did.
        """
        del deadline  # a local file: nothing to wait for
        problem = ""
        try:
            if read_stamp(self._path) != self._stamp:
                self._read()
        except OSError as error:
            problem = f"{self._path} cannot be read: {error.strerror}"
        except ValueError as error:
            problem = f"{self._path} {error}"
        with self._lock:
            if self._login is None:
                raise Unauthorized(problem)
            return self._login, self._generation

    def renew(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Return whether the file contains another login than that of ``generation``."""
        del fault
        _, now = self.current(Deadline.after(0))
        return now != generation

    def confirm(self) -> None:
        """Do nothing: a file does not depend on it."""

    def _read(self) -> None:
        settled = read_settled([self._path], lambda: read_at_once(self._path, MAX_FILE + 1))
        if settled is None:
            raise ValueError("is being replaced")
        data, (stamp,) = settled
        login = read_docker_config(data, self._hosts)
        with self._lock:
            if login != self._login:
                self._login = login
                self._generation += 1
            self._stamp = stamp


def read_docker_config(data: bytes, hosts: Collection[str]) -> UserLogin:
    """Return the login for the first of ``hosts`` that has an entry.

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
    for key, entry in entries.items():
        by_host.setdefault(_host_of(key), entry)
    for host in hosts:
        entry = entries.get(host, by_host.get(host.lower()))
        if entry is not None:
            return _read_entry(entry, host)
    raise ValueError(f"has no login for {' or '.join(hosts)}")


def _host_of(key: str) -> str:
    """Return the host of a key, which docker writes as a host or as a URL."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0].lower()


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
