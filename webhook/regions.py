"""The regions of Huawei Cloud and the hosts of SWR, IAM and STS in each.

Sources: the API endpoints are those of Huawei's SDK (huaweicloudsdkswr 3.1.219, swr/v2/region/swr_region.py).
The registry hosts are those of the SWR User Guide, pushing an image. IAM and STS are from huaweicloudsdkcore
3.1.219, auth/endpoint.py. The SDK lists IAM for 27 and STS for 12 of these regions, all of the form used
here; the others are assumed to have the same form. For a region that is missing here, or has other hosts, the
configuration must name hosts, endpoint and iamEndpoint.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_DOMAIN: Final = "myhuaweicloud.com"
_EUROPEAN_DOMAIN: Final = "myhuaweicloud.eu"

_ENTERPRISE_HOST: Final = re.compile(r".+\.swr-pro(?:\.[a-z0-9-]+)?\.myhuaweicloud\.(?:com|eu)")
"""Hosts of SWR Enterprise, whose API has no ``is_trusted``: an instance, ``swr-pro`` and, for some
instances the region."""


@dataclass(frozen=True, slots=True)
class Region:
    """One region: the host of its images, and the endpoints of its services.

    ``host`` is used in image references; ``endpoint`` (SWR's API, always another host), ``iam_endpoint`` and
    ``sts_endpoint`` are base URLs without a trailing slash.
    """

    name: str
    host: str
    endpoint: str
    iam_endpoint: str
    sts_endpoint: str


def _region(name: str, domain: str = _DOMAIN) -> Region:
    return Region(
        name=name,
        host=f"swr.{name}.{domain}",
        endpoint=f"https://swr-api.{name}.{domain}",
        iam_endpoint=f"https://iam.{name}.{domain}",
        sts_endpoint=f"https://sts.{name}.{domain}",
    )


_NAMES: Final = (
    "ae-ad-1",
    "af-north-1",
    "af-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "cn-east-2",
    "cn-east-3",
    "cn-east-4",
    "cn-east-5",
    "cn-north-1",
    "cn-north-11",
    "cn-north-12",
    "cn-north-2",
    "cn-north-4",
    "cn-north-9",
    "cn-south-1",
    "cn-south-2",
    "cn-south-4",
    "cn-southwest-2",
    "cn-southwest-3",
    "eu-west-0",
    "la-north-2",
    "la-south-2",
    "me-east-1",
    "my-kualalumpur-1",
    "na-mexico-1",
    "ru-moscow-1",
    "ru-northwest-2",
    "sa-brazil-1",
    "sa-peru-1",
    "tr-west-1",
)

REGIONS: Final[Mapping[str, Region]] = MappingProxyType(
    {name: _region(name) for name in _NAMES} | {"eu-west-101": _region("eu-west-101", _EUROPEAN_DOMAIN)}
)
"""All regions by name."""


def find_region(name: str) -> Region | None:
    """Return the region with that name, or ``None``."""
    return REGIONS.get(name)


def suggest_region(name: str) -> str | None:
    """Return the name of a region that is similar to ``name``, for error messages."""
    close = difflib.get_close_matches(name.lower(), REGIONS, n=1)
    return close[0] if close else None


def is_enterprise_host(host: str) -> bool:
    """Return whether a lower-case registry host, with or without a port, is of SWR Enterprise.

    Custom domains of Enterprise instances are not recognized.
    """
    return _ENTERPRISE_HOST.fullmatch(host.partition(":")[0]) is not None
