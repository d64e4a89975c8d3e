"""A token for an IAM user, by password (IAM API Reference, Obtaining a User Token Through Password)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from webhook.deadlines import Deadline
from webhook.errors import MalformedAnswer
from webhook.http_client.messages import Transport
from webhook.swr.credentials.fetched import Fetched
from webhook.swr.credentials.files import SecretFiles
from webhook.swr.credentials.iam import post, read_subject_token, read_time


@dataclass(frozen=True, slots=True, repr=False)
class IamUserLogin:
    """Login of an IAM user, scoped to a project."""

    transport: Transport
    iam_endpoint: str
    domain_name: str
    user_name: str
    password: SecretFiles[str]
    project: dict[str, str]
    """``{"id": ...}`` or ``{"name": ...}``."""

    def __call__(self, deadline: Deadline) -> Fetched[str]:
        """Return a token with its expiry.

        Raises:
            TrustLookupError: IAM refused the login or could not be called.
        """
        password, _ = self.password.current(deadline)
        user = {"domain": {"name": self.domain_name}, "name": self.user_name, "password": password}
        body: dict[str, Any] = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": self.project},
            }
        }
        response = post(
            self.transport,
            self.iam_endpoint,
            "/v3/auth/tokens",
            body,
            deadline,
            query=(("nocatalog", "true"),),
        )
        return Fetched(read_subject_token(response), _read_expiry(response.body))


def _read_expiry(body: bytes) -> float:
    try:
        value = msgspec.json.decode(body)
        text = value["token"]["expires_at"]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, KeyError):
        raise MalformedAnswer("IAM answered a login without token.expires_at") from None
    if not isinstance(text, str):
        raise MalformedAnswer("IAM answered a login without token.expires_at")
    return read_time(text)
