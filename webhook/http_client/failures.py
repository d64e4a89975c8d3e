"""The fault of a failed call: the call is compared with control requests.

The author of a Pod chooses the image, and may know one that a service, or a firewall in front of it, fails on
(``docs/decisions/0017``).
"""

from __future__ import annotations

from collections.abc import Callable

from webhook.errors import Fault, LookupTimeout, RegistryUnavailable
from webhook.http_client.silence import SAMPLES


def attribute_failure(error: RegistryUnavailable, is_alive: Callable[[], bool]) -> RegistryUnavailable:
    """Return the error as the service's fault if control requests fail, too, otherwise as the image's.

    ``is_alive`` sends a control request, and returns whether the service works. Two must fail: a single one
    may fail by chance, and an author may retry until that happens.

    Raises:
        TrustLookupError: there was no response to a control request, or it was not sent.
    """
    if error.fault is Fault.LOCAL:
        return error
    try:
        works = any(_succeeds(is_alive) for _ in range(SAMPLES))
    except LookupTimeout as late:
        if late.fault is Fault.LOCAL and not error.was_sent:
            return error  # the request was not sent, so the image cannot matter, and no time is left
        raise
    fault = Fault.IMAGE if works else Fault.REGISTRY
    return RegistryUnavailable(error.detail, fault=fault, retry_after=error.retry_after)


def _succeeds(is_alive: Callable[[], bool]) -> bool:
    try:
        return is_alive()
    except RegistryUnavailable as error:
        if error.fault is not Fault.REGISTRY:
            raise
        return False
