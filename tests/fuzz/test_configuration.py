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
    "registries": st.lists(st.just({"region": "cn-north-4"}) | junk, max_size=2) | junk,
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
