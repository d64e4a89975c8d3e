"""Public keys for tests of the chart, and values with signatures as evidence."""

from __future__ import annotations

from typing import Any, Final

PUBLIC_KEYS: Final = (
    """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKg2WfG7nNqxs7skGPKEubCOljotP
EYqQvINhe3yeWqPOC0IIhxNy4k+4jWpyD36tCsLPes2TUl4xiPpYaPReRg==
-----END PUBLIC KEY-----
""",
    """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGBdq9bKjjFoZ75pY7ZTHMby/qute
omShqFcJeDIqf8rXSAwwKzGT24cd27jCpoa8n5Rif+UWSvu+r377z0MrxA==
-----END PUBLIC KEY-----
""",
    """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaJ5wmgnuxWpAgxyoq4sh9HvKO/Wj
llA5v5Cg15Zwex/hJrxIPOPz7RsvqOC5m13Zf5NMjqxIJwatCn7uLKSMQg==
-----END PUBLIC KEY-----
""",
)
"""Of ECDSA P-256. Their private keys do not exist."""

LOGIN_FILE: Final = "/etc/swr-trust/login/.dockerconfigjson"

LOGIN_SECRET: Final = "swr-registry-login"

ENTERPRISE_HOST: Final = "team-1a2b3c.swr-pro.cn-north-4.myhuaweicloud.com"


def signed(*names: str, **changes: Any) -> dict[str, Any]:
    """Return a registry whose images must be signed by one of these keys."""
    keys = {"keys": [{"name": name} for name in names]}
    return {"region": "cn-north-4", "evidence": "signature", "signatures": keys, **changes}


def with_keys(*keys: dict[str, Any], **signatures: Any) -> dict[str, Any]:
    """Return a registry whose images must be signed, with these keys as they are written."""
    return signed(signatures={"keys": list(keys), **signatures})


def enterprise(*names: str, **changes: Any) -> dict[str, Any]:
    """Return a registry of SWR Enterprise whose images must be signed by one of these keys."""
    registry = signed(*names)
    del registry["region"]
    return {"edition": "enterprise", "hosts": [ENTERPRISE_HOST], **registry, **changes}


def values_of(*registries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return values with these registries, and with the public keys that they name."""
    names = {
        key["name"] for registry in registries for key in registry.get("signatures", {"keys": []})["keys"]
    }
    keys = dict(zip(sorted(names), PUBLIC_KEYS, strict=False))
    return {"policy": {"registries": list(registries)}, "signatures": {"keys": keys}, **changes}


SIGNATURES: Final = values_of(
    signed("release", registryLogin={"dockerConfigFile": LOGIN_FILE}),
    registryLogin={"existingSecret": LOGIN_SECRET},
)
"""Values with everything that the chart mounts for signatures."""
