"""Sources of secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from webhook.deadlines import Deadline
from webhook.errors import Fault

SecretT_co = TypeVar("SecretT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An access key and its secret, with a security token if they are temporary."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


class SecretSource(Protocol[SecretT_co]):
    """Source of a secret and its generation, which changes with the secret."""

    def current(self, deadline: Deadline) -> tuple[SecretT_co, int]:
        """Return the secret to use now.

        Raises:
            TrustLookupError: there is none by the deadline.
        """
        ...  # pragma: no cover

    def renew(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Return whether there is another secret than the rejected one, or one can be fetched.

        ``fault`` is that of a pause which begins with it; see ``webhook.http_client.messages.Credential``.
        """
        ...  # pragma: no cover

    def confirm(self) -> None:
        """Record that the current secret was accepted."""
        ...  # pragma: no cover


class FixedSecret(SecretSource[SecretT_co]):
    """A secret that does not change while the process runs, from the environment."""

    def __init__(self, secret: SecretT_co) -> None:
        """Use this secret."""
        self._secret = secret

    def current(self, deadline: Deadline) -> tuple[SecretT_co, int]:
        """Return the secret; its generation is always 1."""
        del deadline
        return self._secret, 1

    def renew(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        """Return ``False``: there is no other."""
        del generation, fault
        return False

    def confirm(self) -> None:
        """Do nothing."""
