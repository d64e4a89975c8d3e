"""Secrets in files, read again when they change; several files are read consistently.

A Secret volume replaces all of its files at once, but files can also be replaced one by one. They are read
until their stamps are the same before and after, so that an old access key is not paired with a new secret
key.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from webhook.deadlines import Deadline
from webhook.errors import Fault, Unauthorized
from webhook.file_stamps import Stamp, read_settled, read_stamp
from webhook.small_files import read_at_once

SecretT = TypeVar("SecretT")

MAX_BYTES: Final = 64 * 1024
"""Bytes of a file with one secret; a token has some kilobytes."""


class SecretFiles(Generic[SecretT]):
    """Implements ``SecretSource`` by the contents of one or more files."""

    def __init__(self, paths: Sequence[str], read: Callable[[], SecretT]) -> None:
        """Call ``read`` for the secret when one of ``paths`` has changed, not before the first use.

        It raises ``OSError``, or ``ValueError`` with the name of the file and without its content.
        """
        self._paths = tuple(paths)
        self._read = read
        self._lock = threading.Lock()
        self._stamps: tuple[Stamp, ...] | None = None
        self._current: tuple[SecretT, int] | None = None

    def current(self, deadline: Deadline) -> tuple[SecretT, int]:
        """Return the secret, and a generation that counts its changes.

        If a file becomes unreadable, the last good secret stays.

        Raises:
            Unauthorized: the files contain no secret, and never did.
        """
        del deadline  # local files: nothing to wait for
        problem = ""
        try:
            if self.read_stamps() != self._stamps:
                self._update()
        except OSError as error:
            problem = f"{error.filename} cannot be read: {error.strerror}"
        except ValueError as error:
            problem = str(error)
        with self._lock:
            if self._current is None:
                raise Unauthorized(problem)
            return self._current

    def read_stamps(self) -> tuple[Stamp, ...]:
        """Return the stamps of the files; raises ``OSError``."""
        return tuple(map(read_stamp, self._paths))

    def renew(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Return whether the files contain another secret than that of ``generation``."""
        del fault
        _, now = self.current(Deadline.after(0))
        return now != generation

    def confirm(self) -> None:
        """Do nothing: a file does not depend on it."""

    def _update(self) -> None:
        settled = read_settled(self._paths, self._read)
        if settled is None:
            raise ValueError(f"{self._paths[0]} is being replaced")
        secret, stamps = settled
        with self._lock:
            known, generation = self._current or (None, 0)
            if secret != known:
                self._current = secret, generation + 1
            self._stamps = stamps


def open_secret(path: str) -> SecretFiles[str]:
    """Return the secret in one file."""
    return SecretFiles([path], lambda: read_secret(path))


def read_secret(path: str) -> str:
    """Return the only line of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it contains something else; the text names the file, not its content.
    """
    data = read_at_once(path, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} contains characters that no credential has") from None
    if not text:
        raise ValueError(f"{path} is empty")
    if not text.isprintable():
        raise ValueError(f"{path} contains more than one line")
    return text
