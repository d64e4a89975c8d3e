"""The registry of an image, and the table of regions."""

from __future__ import annotations

import pytest

from tests.support.builders import ALIAS, HOST, registry
from webhook.images.reference import parse_reference
from webhook.regions import REGIONS, find_region, is_enterprise_host, suggest_region
from webhook.registries import CredentialSettings, Registry, RegistryTable

SHOP = registry(organizations=frozenset({"shop"}), project_id="shop")
BASE = registry(organizations=frozenset({"base", "shop"}), project_id="base")
REST = registry(project_id="rest")
SOUTH = registry(hosts=("swr.cn-south-1.myhuaweicloud.com",), region="cn-south-1")
TABLE = RegistryTable.of([SHOP, BASE, REST, SOUTH])

FOUND = [
    (f"{HOST}/shop/web", "shop"),
    (f"{HOST.upper()}/shop/web", "shop"),
    (f"{ALIAS}/shop/web", "shop"),
    (f"{HOST}/base/os", "base"),
    (f"{HOST}/other/x", "rest"),
    ("swr.cn-south-1.myhuaweicloud.com/shop/web", None),
]


@pytest.mark.parametrize(("image", "project"), FOUND)
def test_image_belongs_to_first_matching_registry(image: str, project: str | None) -> None:
    """By whole host and organization; the first entry of the file wins."""
    found = TABLE.find(parse_reference(image))
    assert found is not None
    assert found.project_id == project


@pytest.mark.parametrize(
    "image",
    [
        f"{HOST}.evil.io/shop/web:1",
        f"evil.io/{HOST}/shop/web:1",
        f"{HOST}:444/shop/web:1",
        f"x{HOST}/shop/web:1",
        "10.125.0.199:20202/shop/web:1",
        "10.125.0.198/shop/web:1",
        "10.125.0.198:20203/shop/web:1",
        "swr.cn-east-3.myhuaweicloud.com/shop/web:1",
        "nginx",
    ],
)
def test_only_exact_host_is_managed(image: str) -> None:
    """A prefix, a suffix, another port or another region does not match (T19, T21, T24)."""
    assert TABLE.find(parse_reference(image)) is None


def test_registry_key_covers_whole_definition() -> None:
    """Equal definitions share cached records, and the smallest difference separates them."""
    assert registry().key == registry().key
    changes = [
        registry(hosts=(HOST,)),
        registry(endpoint="https://other.example.com"),
        registry(organizations=frozenset({"a"})),
        registry(project_id="p"),
        registry(ca_file="/ca"),
        registry(proxy="http://proxy:1"),
    ]
    assert len({registry().key, *(changed.key for changed in changes)}) == 7


def test_region_table_is_complete() -> None:
    """35 regions, one of them European."""
    assert len(REGIONS) == 35
    north = find_region("cn-north-4")
    assert north is not None
    assert (north.host, north.endpoint, north.iam_endpoint) == (
        HOST,
        "https://swr-api.cn-north-4.myhuaweicloud.com",
        "https://iam.cn-north-4.myhuaweicloud.com",
    )
    assert REGIONS["eu-west-101"].endpoint == "https://swr-api.eu-west-101.myhuaweicloud.eu"
    assert find_region("mars-1") is None
    assert suggest_region("cn-nort-4") == "cn-north-4"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("shop-abc123.swr-pro.myhuaweicloud.com", True),
        ("shop-abc123.swr-pro.myhuaweicloud.com:443", True),
        ("team-1a2b3c.swr-pro.cn-north-4.myhuaweicloud.com", True),
        ("team-1a2b3c.swr-pro.cn-north-4.evil.myhuaweicloud.com", False),
        ("swr-pro.cn-north-4.myhuaweicloud.com", False),
        ("swr-pro.myhuaweicloud.com.evil.io", False),
        (HOST, False),
    ],
)
def test_enterprise_hosts_are_recognized(host: str, expected: bool) -> None:
    """The API of SWR Enterprise Edition has no trust mark."""
    assert is_enterprise_host(host) is expected


def test_key_of_registry_with_tag_detail_is_the_same_as_in_earlier_versions() -> None:
    """Otherwise an upgrade would discard the snapshot, and with it all stale trust."""
    before = Registry(
        hosts=("a", "b"),
        region="cn-north-4",
        endpoint="https://x",
        iam_endpoint="https://y",
        credentials=CredentialSettings("token", token_file="/t"),
        organizations=frozenset({"o", "p"}),
        project_id="1",
    )
    assert before.key == "31b1880de4ba6b45"
