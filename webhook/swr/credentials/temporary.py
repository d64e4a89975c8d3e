"""Temporary keys for a Pod: CCE Pod Identity, and OIDC with the old IAM or with STS.

Sources: CCE User Guide, Pod Identity (cce_10_1110) and Using OIDC (cce_10_2188); the wire formats
are those of the SDK (huaweicloudsdkcore 3.1.219, auth/internal.py). Its own providers are not used: they
read a rotated token only once, mix old and new keys under concurrency and have no deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from webhook.deadlines import Deadline
from webhook.http_client.messages import Transport
from webhook.swr.credentials.fetched import Fetched
from webhook.swr.credentials.files import SecretFiles
from webhook.swr.credentials.iam import post, read_subject_token, read_temporary_keys
from webhook.swr.credentials.secrets import KeyPair

OIDC_DURATION: Final = 6 * 3600
"""Requested lifetime of keys from the old IAM, in seconds."""

STS_DURATION: Final = 3600
"""Requested lifetime of keys from STS, in seconds."""

SESSION_NAME: Final = "swr-trust-webhook"


@dataclass(frozen=True, slots=True, repr=False)
class PodIdentity:
    """Keys from the CCE Pod Identity agent on the node."""

    transport: Transport
    url: str
    """``HC_CONTAINER_CREDENTIALS_FULL_URI``."""
    token: SecretFiles[str]

    def __call__(self, deadline: Deadline) -> Fetched[KeyPair]:
        """Return keys with their expiry; raises ``TrustLookupError``."""
        token, _ = self.token.current(deadline)
        url = urlsplit(self.url)
        headers = {"Authorization": token}
        response = post(
            self.transport, f"{url.scheme}://{url.netloc}", url.path or "/", {}, deadline, headers
        )
        return read_temporary_keys(response.body)


@dataclass(frozen=True, slots=True, repr=False)
class OidcFederation:
    """Keys from the old IAM: the projected token is exchanged for a token, and that for keys."""

    transport: Transport
    iam_endpoint: str
    provider: str
    token: SecretFiles[str]

    def __call__(self, deadline: Deadline) -> Fetched[KeyPair]:
        """Return keys with their expiry; raises ``TrustLookupError``."""
        id_token, _ = self.token.current(deadline)
        login = post(
            self.transport,
            self.iam_endpoint,
            "/v3.0/OS-AUTH/id-token/tokens",
            {"auth": {"id_token": {"id": id_token}}},
            deadline,
            {"X-Idp-Id": self.provider},
        )
        token = {"id": read_subject_token(login), "duration_seconds": OIDC_DURATION}
        body = {"auth": {"identity": {"methods": ["token"], "token": token}}}
        path = "/v3.0/OS-CREDENTIAL/securitytokens"
        return read_temporary_keys(post(self.transport, self.iam_endpoint, path, body, deadline).body)


@dataclass(frozen=True, slots=True, repr=False)
class OidcAgency:
    """Keys from STS, which assumes an agency with the projected token."""

    transport: Transport
    sts_endpoint: str
    provider_urn: str
    agency_urn: str
    token: SecretFiles[str]

    def __call__(self, deadline: Deadline) -> Fetched[KeyPair]:
        """Return keys with their expiry; raises ``TrustLookupError``."""
        id_token, _ = self.token.current(deadline)
        body = {
            "provider_urn": self.provider_urn,
            "agency_urn": self.agency_urn,
            "agency_session_name": SESSION_NAME,
            "id_token": id_token,
            "duration_seconds": STS_DURATION,
        }
        response = post(self.transport, self.sts_endpoint, "/v5/agencies/assume-with-oidc", body, deadline)
        return read_temporary_keys(response.body)
