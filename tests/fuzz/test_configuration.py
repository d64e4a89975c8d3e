"""No unusual configuration file opens a bypass."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from tests.fuzz.effort import thorough
from tests.fuzz.inputs import junk
from tests.support.builders import HOST, NOW, SOON, FakeAnswers, pod, request
from webhook.admission.validator import Validator
from webhook.errors import ConfigError
from webhook.policy.linting import lint
from webhook.policy.loading import parse_policy
from webhook.policy.model import Policy
from webhook.policy.signing_keys import refresh_keys
from webhook.registries import NO_CREDENTIALS
from webhook.trust.records import TrustStatus

START: dict[str, Any] = {
    "apiVersion": "swr-trust/v1",
    "kind": "TrustPolicy",
    "registries": [{"region": "cn-north-4"}],
    "credentials": {"kind": "token", "tokenFile": "/t"},
}
IMAGE = f"{HOST}/shop/web:2"
OPENING = ("mode", "rules", "exemptions", "unmanagedRegistries", "onLookupFailure", "breakGlass")
"""The keys that may admit an image that SWR does not trust."""


def parse(text: str | bytes) -> Policy | None:
    """Return the policy of a file, ``None`` if it is rejected; a rejection always has a reason."""
    try:
        current = parse_policy(text)
    except ConfigError as error:
        problems = error.problems
    else:
        event("accepted")
        return current
    event("refused")
    assert problems
    assert all(problem.message and str(problem).isprintable() for problem in problems)
    return None


def parse_without_keys(text: str) -> Policy | None:
    """Return the policy of a file whose key files are not read, ``None`` if it is rejected."""
    try:
        current = parse_policy(text, with_keys=False)
    except ConfigError:
        return None
    event("accepted without keys")
    return current


patterns = st.sampled_from(["**", f"{HOST}/**", f"{HOST}/shop/*", "nginx", "*", "a**", "", "*.com/x", 5])
entry = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "y", "", " ", 5])},
    optional={
        "images": st.lists(patterns, max_size=3) | junk,
        "namespaces": st.lists(st.sampled_from(["*", "shop", "sh*", "", "UPPER"]), max_size=2) | junk,
        "mode": st.sampled_from(["enforce", "warn", "audit", "off", True, None]),
        "reason": st.sampled_from(["because", "", None]),
        "expires": st.sampled_from(["2020-01-01", "2099-12-31", "tomorrow", 5, None]),
        "requireDigest": st.booleans() | junk,
    },
)
key_files = st.sampled_from(
    ["/nowhere/a.pub", "/dev/null", "/dev/zero", "/", "/proc/self/mem", "/a\0b", "a.pub", "", 5, None]
)
signing_key = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "y", "", "\n", 5]), "file": key_files},
    optional={"notAfter": st.sampled_from(["2020-01-01", "9999-12-31", "0001-01-01T00:00:00Z", "soon", 5])},
)
signatures = st.fixed_dictionaries(
    {},
    optional={
        "keys": st.lists(signing_key, max_size=3) | junk,
        "threshold": st.sampled_from([1, 2, 0, -1, 10**30, 1.5, "1", True]),
        "annotations": st.dictionaries(st.text(max_size=3), st.text(max_size=3) | junk, max_size=2) | junk,
    },
)
registry_values = {
    "region": st.sampled_from(["cn-north-4", "mars-1", None]),
    "edition": st.sampled_from(["basic", "enterprise", "Enterprise", None]),
    "hosts": st.lists(st.sampled_from([HOST, "a-b.swr-pro.myhuaweicloud.com", "", 5]), max_size=2) | junk,
    "evidence": st.sampled_from(["tagDetail", "signature", "both", "none", None, []]),
    "signatures": signatures | junk,
    "registryEndpoint": st.sampled_from(
        [f"https://{HOST}", "http://[::1]:5", "http://a", "//", "http://[", 5]
    ),
    "registryLogin": st.sampled_from([{"dockerConfigFile": "/a"}, {}, [], None]),
}
KEYS = {"keys": [{"name": "x", "file": "/nowhere/x.pub"}, {"name": "y", "file": "/nowhere/y.pub"}]}
valid_registries = st.sampled_from(
    [
        {"region": "cn-north-4", "evidence": "both", "signatures": KEYS},
        {"edition": "enterprise", "hosts": [HOST], "evidence": "signature", "signatures": KEYS},
    ]
)
registry_changes = st.sets(st.sampled_from(sorted(registry_values)), max_size=2).flatmap(
    lambda keys: st.fixed_dictionaries({key: registry_values[key] for key in sorted(keys)})
)
signed_registry = st.builds(lambda valid, changes: {**valid, **changes}, valid_registries, registry_changes)
values = {
    "mode": st.sampled_from(["enforce", "Enforce", "warn", "audit", "off", False, None]),
    "unmanagedRegistries": st.sampled_from(["deny", "warn", "allow", "no", None]),
    "digestOnly": st.sampled_from(["deny", "resolve", "allow"]),
    "onLookupFailure": st.sampled_from(["deny", "allow", "ALLOW", None]),
    "workloads": st.sampled_from(["off", "warn", "enforce", False]),
    "rules": st.lists(entry, max_size=3) | junk,
    "exemptions": st.lists(entry, max_size=3) | junk,
    "breakGlass": junk | st.just({"groups": ["system:authenticated"]}) | st.just({"users": ["dev"]}),
    "cache": junk | st.just({"trusted": "1s"}),
    "lookup": junk | st.just({"timeout": "0s"}),
    "registries": st.lists(st.just({"region": "cn-north-4"}) | signed_registry | junk, max_size=2) | junk,
    "messages": st.sampled_from(["en", "zh", "de"]),
    "hint": st.text(max_size=10) | junk,
}
some_keys = st.sets(st.sampled_from(sorted(values)), max_size=3)
changed = some_keys.flatmap(lambda keys: st.fixed_dictionaries({key: values[key] for key in sorted(keys)}))


@thorough
@given(changed, st.booleans())
@example({"mode": "Enforce"}, True)
def test_changed_configuration_is_rejected_or_applied_as_written(changes: dict[str, Any], keep: bool) -> None:
    """An untrusted image is admitted only if a key that may admit it is set."""
    value = {**START, **changes}
    text = yaml.safe_dump(value, allow_unicode=keep)
    current = parse(text)
    if current is None:
        return
    lint(current, NOW)
    decision = Validator(
        lambda: current, FakeAnswers({"shop/web:2": TrustStatus.UNTRUSTED}), clock=lambda: NOW
    ).validate(request(pod(IMAGE)), SOON)
    if decision.allowed:
        assert any(key in changes and changes[key] not in ("enforce", "deny") for key in OPENING)
        assert changes.get("mode") in ("warn", "audit") or changes.get("rules") or changes.get("exemptions")


@thorough
@given(st.binary(max_size=120) | st.text(max_size=120).map(lambda text: text.encode(errors="surrogatepass")))
def test_random_bytes_are_parsed_or_rejected(data: bytes) -> None:
    """No other exception is raised."""
    parse(data)


@thorough
@given(st.data())
def test_damaged_configuration_is_rejected_or_enforces(data: st.DataObject) -> None:
    """A file with a few characters removed or added is never applied as something else."""
    text = yaml.safe_dump(START)
    position = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 5))
    piece = data.draw(
        st.sampled_from(["", ":", "\n", "- ", "&a ", "*a", "{", "]", "!x ", "<<: ", "'", "\t", "\0", "é"])
    )
    damaged = text[:position] + piece + text[position + length :]
    assume(damaged != text)
    current = parse(damaged)
    if current is not None:
        assert (current.mode, current.exemptions, current.rules) == ("enforce", (), ())


@thorough
@given(signed_registry, st.booleans())
@example(
    {
        "edition": "enterprise",
        "hosts": [HOST],
        "evidence": "signature",
        "signatures": {"keys": [{"name": "x", "file": "/nowhere", "notAfter": "0001-01-01T00:00:00Z"}]},
    },
    False,
)
def test_evidence_is_never_weaker_than_written(entry: dict[str, Any], with_keys: bool) -> None:
    """A registry that is accepted needs what its file says, and no unusable file is a key that counts."""
    text = yaml.safe_dump({**START, "registries": [entry]})
    current = parse(text) if with_keys else parse_without_keys(text)
    if current is None:
        return
    lint(current, NOW)
    assert refresh_keys(current, NOW).version == current.version
    (compiled,) = current.registries.registries
    assert compiled.evidence == entry.get("evidence", "tagDetail")
    assert compiled.edition == entry.get("edition", "basic")
    assert compiled.needs_signature <= (compiled.signatures is not None)
    assert not compiled.is_enterprise or (compiled.needs_signature and compiled.credentials is NO_CREDENTIALS)
    if compiled.signatures is not None:
        assert 1 <= compiled.signatures.threshold <= len(compiled.signatures.keys)
        assert compiled.signatures.counting == ()
        assert all(key.problem for key in compiled.signatures.keys)
