"""Loading of the configuration file, and every kind of problem in it."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.errors import ConfigError
from webhook.policy.findings import Mode
from webhook.policy.loading import load_policy, parse_policy
from webhook.policy.model import Policy
from webhook.policy.schema import PolicyModel, build_json_schema
from webhook.registries import NO_CREDENTIALS, Evidence, SignatureSettings, SigningKey
from webhook.trust.settings import CacheSettings, LookupSettings

EXAMPLE = Path(__file__).parents[2] / "data" / "policy.yaml"
START = "apiVersion: swr-trust/v1\nkind: TrustPolicy\n"
REGION = "registries: [{region: cn-north-4}]\n"
TOKEN = "credentials: {kind: token, tokenFile: /t}\n"
MINIMAL = START + REGION + TOKEN


def problems(text: str | bytes) -> list[str]:
    """Return every problem of a file, as it is shown."""
    with pytest.raises(ConfigError) as caught:
        parse_policy(text)
    return [str(problem) for problem in caught.value.problems]


def test_example_file_is_read_completely() -> None:
    """Every key of the example file has its effect."""
    policy = load_policy(str(EXAMPLE), with_keys=False)
    first, second, third = policy.registries.registries
    assert first.hosts == ("swr.cn-north-4.myhuaweicloud.com", "10.125.0.198:20202")
    assert first.endpoint == "https://swr-api.cn-north-4.myhuaweicloud.com"
    assert first.iam_endpoint == "https://iam.cn-north-4.myhuaweicloud.com"
    assert first.organizations == {"shop", "base"}
    assert first.project_id == "0a1b2c3d4e5f"
    assert (first.credentials.kind, first.credentials.access_key_file) == ("aksk", "/etc/swr/ak")
    assert second.hosts == ("swr.eu-de.otc.t-systems.com",)
    assert (second.credentials.kind, second.credentials.token_file) == ("token", "/etc/swr/token")
    assert (second.ca_file, second.proxy) == ("/etc/ssl/private-ca.pem", "http://proxy.example.com:3128")
    assert first.signatures == SignatureSettings(
        keys=(
            SigningKey("release-2026", "/etc/swr-trust/keys/release-2026.pub", problem="has not been read"),
            SigningKey(
                "release-2025",
                "/etc/swr-trust/keys/release-2025.pub",
                dt.datetime(2099, 4, 1, tzinfo=dt.UTC).timestamp(),
                problem="has not been read",
            ),
        ),
        threshold=1,
        annotations=(("stage", "prod"),),
    )
    assert (first.edition, first.evidence) == ("basic", Evidence.BOTH)
    assert first.registry_endpoint == "https://swr.cn-north-4.myhuaweicloud.com"
    assert first.docker_config_file == "/etc/swr-trust/login/.dockerconfigjson"
    assert (second.evidence, second.signatures) == (Evidence.TAG_DETAIL, None)
    assert (third.edition, third.evidence) == ("enterprise", Evidence.SIGNATURE)
    assert third.registry_endpoint == "https://team-1a2b3c.swr-pro.cn-north-4.myhuaweicloud.com"
    assert third.credentials is NO_CREDENTIALS
    assert (third.region, third.endpoint, third.iam_endpoint, third.project_id) == ("", "", "", None)
    (rule,), (exemption,) = policy.rules, policy.exemptions
    assert (rule.name, rule.mode, rule.namespaces.globs) == (
        "sandbox is only watched",
        Mode.AUDIT,
        ("sandbox-*",),
    )
    assert exemption.expires is not None
    assert exemption.expires.isoformat() == "2027-07-01T00:00:00+00:00"
    assert policy.break_glass.groups == {"platform-oncall"}
    assert policy.hint == "How to get an image trusted: https://wiki.example.com/trust"


def test_policy_defaults_are_strict() -> None:
    """Only registries and credentials are required."""
    policy = parse_policy(MINIMAL)
    assert policy == Policy(policy.version, policy.registries)
    assert (policy.mode, policy.unmanaged_registries, policy.on_lookup_failure) == (
        Mode.ENFORCE,
        "deny",
        "deny",
    )
    assert (policy.cache, policy.lookup) == (
        CacheSettings(60, 10, 43200, 10000),
        LookupSettings(3, 128, 1, 50),
    )


def test_all_problems_are_reported_together() -> None:
    """Types, unknown keys and meanings, each with its path."""
    text = """\
apiVersion: swr-trust/v1
kind: TrustPolicy
registries:
  - region: cn-nort-4
    alias: [x]
    endpoint: http://swr.example.com
mode: enforced
cache: {trusted: 60, refused: 10h}
rules: [{name: r, images: ["a**"]}]
sk: x
"""
    assert problems(text) == [
        "registries[0].endpoint: plain http would reveal the credential to the network: write https",
        "registries[0].alias: there is no such key, did you mean aliases?",
        "mode: write enforce, warn or audit",
        "rules[0].images[0]: a wildcard host needs a path: write a host and a path, or ** for every image",
        "cache.trusted: write a duration with its unit, such as 30s, 10m, 12h or 1h30m",
        "cache.refused: write a duration from 1s to 5m",
        "sk: a secret does not belong in this file: name a file that holds it, or use the environment",
        "registries[0].region: is not in the table of regions: write hosts and iamEndpoint as well, or did you mean cn-north-4?",
        "registries[0].credentials: is missing, and there is none at the top level: write credentials with a kind",
    ]


E = "registries: [{region: eu-de, hosts: [swr.example.com], endpoint: https://e, iamEndpoint: https://i}]\n"
BROKEN: list[tuple[str, str, list[str]]] = [
    ("nothing", "", ["the file is empty: write apiVersion, kind, registries and credentials"]),
    ("a list", "- a", ["the file is not a mapping: write apiVersion, kind, registries and credentials"]),
    (
        "two documents",
        MINIMAL + "---\n" + MINIMAL,
        ["the file contains several documents, from line 5 on: write one file each"],
    ),
    (
        "no YAML",
        "a: [",
        ["the file is not YAML in line 2: did not find expected node content while parsing a flow node"],
    ),
    (
        "a tab",
        "a:\n\t- b",
        [
            "the file is not YAML in line 2: found character that cannot start any token while scanning for the next token"
        ],
    ),
    (
        "a key twice",
        MINIMAL + "mode: warn\nmode: audit\n",
        ["mode: is given twice, again in line 6: keep one of them"],
    ),
    (
        "an unknown tag",
        "a: !!python/object:os.system x",
        [
            "a: the YAML tag tag:yaml.org,2002:python/object:os.system is not used here: remove it",
            "apiVersion: is missing: write apiVersion: swr-trust/v1",
            "kind: is missing: write kind: TrustPolicy",
            "registries: is missing: write at least one registry, such as region: cn-north-4",
        ],
    ),
    ("no kind", "apiVersion: swr-trust/v1\n" + REGION + TOKEN, ["kind: is missing: write kind: TrustPolicy"]),
    ("another version", MINIMAL.replace("/v1", "/v2"), ["apiVersion: write swr-trust/v1"]),
    (
        "no registries",
        START + TOKEN,
        ["registries: is missing: write at least one registry, such as region: cn-north-4"],
    ),
    (
        "an empty list",
        START + TOKEN + "registries: []\n",
        ["registries: write at least one entry, or remove the key"],
    ),
    (
        "yes for true",
        MINIMAL + "rules: [{name: a, images: [a], requireDigest: yes}]\n",
        ["rules[0].requireDigest: write true or false"],
    ),
    ("a number as text", MINIMAL + "lookup: {retries: '1'}\n", ["lookup.retries: write a whole number"]),
    ("text as a list", MINIMAL + "exemptions: x\n", ["exemptions: write a list"]),
    (
        "too long to wait",
        MINIMAL + "lookup: {timeout: 60s}\n",
        ["lookup.timeout: write a duration from 1s to 25s"],
    ),
    (
        "no unit",
        MINIMAL + "cache: {trusted: '60'}\n",
        ["cache.trusted: write a duration with its unit, such as 30s, 10m, 12h or 1h30m"],
    ),
    (
        "an exemption without reason",
        MINIMAL + "exemptions: [{name: a, images: ['**']}]\n",
        ["exemptions[0].reason: is missing: write why these images are admitted without a lookup"],
    ),
    (
        "an exemption without images",
        MINIMAL + "exemptions: [{name: a, reason: b}]\n",
        [
            "exemptions[0].images: is missing: write patterns of the images that it applies to, ** for every image"
        ],
    ),
    (
        "an exemption of no images",
        MINIMAL + "exemptions: [{name: a, reason: b, images: []}]\n",
        ["exemptions[0].images: write at least one entry, or remove the key"],
    ),
    (
        "a blank reason",
        MINIMAL + "exemptions: [{name: a, reason: ' ', images: [a]}]\n",
        ["exemptions[0].reason: is empty: write some text"],
    ),
    (
        "a time without offset",
        MINIMAL + "exemptions: [{name: a, reason: b, images: [a], expires: '2027-01-01T10:00:00'}]\n",
        [
            "exemptions[0].expires: write a date such as 2027-06-30, or a time with its offset such as 2027-06-30T18:00:00+08:00"
        ],
    ),
    (
        "two of one name",
        MINIMAL + "exemptions: [{name: a, reason: b, images: [a]}, {name: a, reason: b, images: [b]}]\n",
        ["exemptions[1].name: is also the name of an entry above: give each a unique name"],
    ),
    (
        "a bad namespace",
        MINIMAL + "rules: [{name: a, images: [a], mode: warn, namespaces: [A_b]}]\n",
        ["rules[0].namespaces[0]: write the name of a namespace, in which * matches any characters"],
    ),
    (
        "no namespaces",
        MINIMAL + "rules: [{name: a, images: [a], mode: warn, namespaces: []}]\n",
        ["rules[0].namespaces: write at least one entry, or remove the key"],
    ),
    (
        "everybody breaks glass",
        MINIMAL + "breakGlass: {groups: ['system:authenticated']}\n",
        [
            "breakGlass.groups[0]: system:authenticated is too broad, any user could use break-glass: name a group of people"
        ],
    ),
    (
        "all machines break glass",
        MINIMAL + "breakGlass: {groups: ['system:serviceaccounts:kube-system']}\n",
        [
            "breakGlass.groups[0]: system:serviceaccounts:kube-system is too broad, any user could use break-glass: name a group of people"
        ],
    ),
    (
        "a wildcard group",
        MINIMAL + "breakGlass: {groups: ['*']}\n",
        ["breakGlass.groups[0]: write the whole name: there are no wildcards here"],
    ),
    (
        "a bad annotation",
        MINIMAL + "breakGlass: {annotation: 'a b'}\n",
        ["breakGlass.annotation: write the name of an annotation, such as swr-trust/break-glass"],
    ),
    (
        "a host with a scheme",
        MINIMAL.replace("cn-north-4", "cn-north-4, aliases: ['https://x']"),
        [
            "registries[0].aliases[0]: write a host as in image references, with its port if it has one, without scheme and path"
        ],
    ),
    (
        "a host twice",
        MINIMAL.replace("cn-north-4", "cn-north-4, aliases: [SWR.cn-north-4.myhuaweicloud.com]"),
        [
            "registries[0].aliases[0]: swr.cn-north-4.myhuaweicloud.com is a host of this registry already: remove one"
        ],
    ),
    (
        "an enterprise host",
        MINIMAL.replace("cn-north-4", "cn-north-4, aliases: [a-b.swr-pro.myhuaweicloud.com]"),
        [
            "registries[0].aliases[0]: is a host of SWR Enterprise, whose API has no is_trusted: write it in an entry of its own with edition: enterprise"
        ],
    ),
    (
        "an endpoint with a path",
        START + TOKEN + E.replace("https://e", "https://e/v2"),
        ["registries[0].endpoint: write a base URL such as https://swr-api.example.com, without a path"],
    ),
    (
        "an endpoint with a password",
        START + TOKEN + E.replace("https://e", "https://u:p@e"),
        [
            "registries[0].endpoint: a URL in this file must not contain user and password: for a proxy, set HTTPS_PROXY"
        ],
    ),
    (
        "a proxy with a password",
        MINIMAL.replace("cn-north-4", "cn-north-4, proxy: 'http://u:p@p:1'"),
        [
            "registries[0].proxy: a URL in this file must not contain user and password: for a proxy, set HTTPS_PROXY"
        ],
    ),
    (
        "a relative file",
        MINIMAL.replace("/t", "t"),
        ["credentials.tokenFile: write the absolute path of a file, such as /etc/swr/token"],
    ),
    (
        "a key of another kind",
        START + REGION + "credentials: {kind: token, tokenFile: /t, userName: u}\n",
        ["credentials.userName: does not go with kind token: remove it"],
    ),
    (
        "an unknown kind",
        START + REGION + "credentials: {kind: magic}\n",
        ["credentials.kind: write aksk, token, iamUser, podIdentity or oidc"],
    ),
    (
        "a secret in the file",
        START + REGION + "credentials: {kind: iamUser, password: x}\n",
        [
            "credentials.password: a secret does not belong in this file: name a file that holds it, or use the environment"
        ],
    ),
    (
        "half a key pair",
        START + REGION + "credentials: {kind: aksk, accessKeyFile: /a}\n",
        [
            "credentials: set accessKeyFile and secretKeyFile together, or no file at all to use the environment"
        ],
    ),
    (
        "oidc both ways",
        START + REGION + "credentials: {kind: oidc, idTokenFile: /a, identityProvider: i, agencyUrn: u}\n",
        ["credentials: set identityProvider for IAM, or providerUrn and agencyUrn for STS"],
    ),
    (
        "a hint of two lines",
        MINIMAL + 'hint: "a\\nb"\n',
        ["hint: contains a line break or another unprintable character: remove it"],
    ),
]


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_problem_is_reported_with_its_path(text: str, expected: list[str]) -> None:
    """The mistake, its place, and a correction."""
    assert problems(text) == expected


def test_loopback_endpoint_may_use_plain_http() -> None:
    """An emulator on this machine needs no TLS."""
    for host in ("127.0.0.1:9", "localhost:9", "[::1]:9"):
        parse_policy(START + TOKEN + E.replace("https://e", f"'http://{host}'"))


def test_missing_policy_file_is_named_in_error() -> None:
    """The path and the cause."""
    with pytest.raises(ConfigError) as caught:
        load_policy("/nowhere/policy.yaml")
    assert str(caught.value) == "/nowhere/policy.yaml cannot be read: No such file or directory"


def test_yaml_alias_bomb_is_rejected() -> None:
    """A few lines must not expand to billions of values."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]")
    assert problems("\n".join(lines)) == ["the file contains more than 50000 values, from line 5 on"]


def test_file_larger_than_config_map_is_rejected() -> None:
    """A ConfigMap cannot be larger."""
    assert problems(b"#" * (1024 * 1024 + 1)) == [
        "the file is larger than 1024 KiB, the limit of a ConfigMap"
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("90s", 90), ("10m", 600), ("1h", 3600), ("40m30s", 2430), ("1.5s", 1.5), ("0h1m", 60)],
)
def test_durations_are_parsed_with_units(text: str, seconds: float) -> None:
    """Numbers with units, largest first."""
    assert parse_policy(MINIMAL + f"cache: {{trusted: {text}}}\n").cache.trusted == seconds


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-06-30", "2027-07-01T00:00:00+00:00"),
        ("2027-06-30T18:00:00+08:00", "2027-06-30T10:00:00+00:00"),
        ("2027-06-30T10:00:00Z", "2027-06-30T10:00:00+00:00"),
    ],
)
def test_expiry_date_includes_whole_day_in_utc(text: str, moment: str) -> None:
    """A date ends with its day in UTC; a time is exact."""
    policy = parse_policy(MINIMAL + f"exemptions: [{{name: a, reason: b, images: [a], expires: {text}}}]\n")
    expires = policy.exemptions[0].expires
    assert expires is not None
    assert expires.isoformat() == moment


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_file_content_is_policy_or_config_error(text: str | bytes) -> None:
    """No exception except ``ConfigError`` is raised."""
    with contextlib.suppress(ConfigError):
        parse_policy(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))


keys = st.sampled_from(
    [
        "registries",
        "credentials",
        "mode",
        "rules",
        "exemptions",
        "cache",
        "lookup",
        "breakGlass",
        "kind",
        "region",
        "images",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(keys, values, max_size=4))
def test_any_yaml_structure_is_policy_or_config_error(value: dict[str, Any]) -> None:
    """A wrong type at any depth is a problem, not a crash."""
    import yaml

    text = yaml.safe_dump({"apiVersion": "swr-trust/v1", "kind": "TrustPolicy", **value})
    with contextlib.suppress(ConfigError):
        parse_policy(text)


def test_json_schema_describes_every_key() -> None:
    """The JSON Schema describes each key and rejects others."""
    schema = build_json_schema()
    bare = [
        f"{name}.{key}"
        for name, definition in {"": schema, **schema["$defs"]}.items()
        for key, value in definition["properties"].items()
        if "description" not in value
    ]
    assert bare == []
    assert all(definition["additionalProperties"] is False for definition in schema["$defs"].values())


def test_example_file_holds_every_top_level_key() -> None:
    import yaml

    written = set(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))
    assert written == {field.alias for field in PolicyModel.model_fields.values()}
