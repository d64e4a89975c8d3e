"""Redirects of blobs to object storage: one, without credentials, over TLS.

The bytes are compared with their digest, so that it does not matter who sends them. The login must not leave
the registry, and a redirect must not lead to an unprotected address.
"""

from __future__ import annotations

from typing import Final

from webhook.errors import Fault, LookupTimeout, RegistryUnavailable, TrustLookupError
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.http_client.statuses import OK, read_retry_after
from webhook.oci.answers import REDIRECTS
from webhook.oci.urls import Url, is_as_safe, read_url
from webhook.signatures.limits import MAX_MANIFEST

MAX_BLOB: Final = MAX_MANIFEST
"""Bytes of the largest blob that can be requested; signatures are much smaller."""


def follow(response: HttpResponse, request: HttpRequest, endpoint: Url) -> HttpRequest:
    """Return the request to which a redirect of ``request`` leads, without any of its headers.

    Raises:
        RegistryUnavailable: the location is not a URL, or may not be called. The fault is the image's.
    """
    location = response.headers.get("location", "")
    is_path = location.startswith("/") and not location.startswith("//")
    target = read_url(request.base_url + location if is_path else location)
    if target is None:
        raise _refuse(f"the registry answered {response.status} to a blob without a usable location")
    if not is_as_safe(target, endpoint):
        raise _refuse(f"the registry redirected a blob to plain http on {target.host}")
    # The query stays as it is, because a signature of object storage covers it.
    path = target.path + (f"?{target.query}" if target.query else "")
    return HttpRequest("GET", target.base_url, path, max_answer=request.max_answer)


def read_redirected(response: HttpResponse, target: HttpRequest) -> bytes:
    """Return the bytes that object storage sent.

    Raises:
        RegistryUnavailable: it did not send any; the image's fault, because the registry works.
    """
    host = target.base_url.partition("//")[2]
    if response.status == OK:
        return response.body
    if response.status in REDIRECTS:
        raise _refuse(f"the registry redirected a blob to {host}, which redirected it once more")
    detail = f"the registry redirected a blob to {host}, which answered {response.status}"
    raise RegistryUnavailable(detail, fault=Fault.IMAGE, retry_after=read_retry_after(response))


def attribute(error: TrustLookupError, target: HttpRequest) -> TrustLookupError:
    """Return the error of a request to object storage with its fault.

    Before it was sent, the image cannot matter. Afterwards its author may be the cause, and there is no
    control request for object storage.
    """
    host = target.base_url.partition("//")[2]
    if isinstance(error, RegistryUnavailable):
        fault = Fault.IMAGE if error.was_sent and error.fault is Fault.REGISTRY else error.fault
        detail = f"the registry redirected a blob to {error.detail}"
        return RegistryUnavailable(detail, fault=fault, was_sent=error.was_sent)
    if isinstance(error, LookupTimeout) and error.fault is Fault.REGISTRY:
        return LookupTimeout(
            f"the registry redirected a blob to {host}, which did not answer in time", fault=Fault.IMAGE
        )
    return error


def _refuse(detail: str) -> RegistryUnavailable:
    return RegistryUnavailable(detail, fault=Fault.IMAGE)
