"""Signatures of requests with an access key (API Request Signing Guide, SDK-HMAC-SHA256)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from webhook.errors import Unauthorized
from webhook.http_client.messages import HttpRequest
from webhook.swr.credentials.secrets import KeyPair


def load_signer() -> Callable[[KeyPair, HttpRequest], Mapping[str, str]]:
    """Load the SDK and return a function for the headers of a signed request.

    The signer decodes and encodes the path again, which does not change a path of checked names. Loading the
    SDK takes half a second; it is loaded here, not by the first request, and only if it is needed. If the SDK
    cannot sign with a key, ``Unauthorized`` is raised without the SDK's message.
    """
    from huaweicloudsdkcore.auth.credentials import BasicCredentials  # noqa: PLC0415 - see above
    from huaweicloudsdkcore.sdk_request import SdkRequest  # noqa: PLC0415 - the same
    from huaweicloudsdkcore.signer.signer import Signer  # noqa: PLC0415 - the same

    def sign(pair: KeyPair, request: HttpRequest) -> Mapping[str, str]:
        parts = urlsplit(request.base_url)
        headers = {
            **request.headers,
            "Host": parts.netloc,
            "X-Sdk-Date": dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ"),
        }
        if pair.security_token is not None:
            headers["X-Security-Token"] = pair.security_token
        signed = SdkRequest(
            method=request.method,
            schema=parts.scheme,
            host=parts.netloc,
            resource_path=request.path,
            query_params=list(request.query),
            header_params=headers,
            body=request.body or "",
        )
        try:
            Signer(BasicCredentials(pair.access_key, pair.secret_key)).sign(signed)
        except Exception as error:  # noqa: BLE001 - the SDK's own errors, and those it lets through
            raise Unauthorized(f"a request cannot be signed: {type(error).__name__}") from None
        return {name: value for name, value in signed.header_params.items() if name not in request.headers}

    return sign
