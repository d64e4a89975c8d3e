"""Generators of reviews that an API server could send, and of reviews that it never would."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.oracle import BAD, GOOD, HOSTS, TRUSTED
from tests.support.builders import UID
from tests.support.strategies import near_misses, references

junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)

trusted = st.builds(
    lambda host, rest: f"{host}/{rest}",
    st.sampled_from([*HOSTS, HOSTS[0].upper(), HOSTS[0].title()]),
    st.sampled_from(TRUSTED),
)
REFUSED = [
    f"{HOSTS[0]}/shop/web:2",
    f"{HOSTS[0]}/shop/web",
    f"{HOSTS[0]}/shop/web:1@{BAD}",
    f"{HOSTS[0]}/shop/web@{GOOD}",
    f"{HOSTS[0]}/shop-evil/web:1",
    f"{HOSTS[0]}.evil.io/shop/web:1",
    f"evil.io/{HOSTS[0]}/shop/web:1",
    f"{HOSTS[0]}:443/shop/web:1",
    "shop/web:1",
    "nginx",
    "auto",
    "",
    GOOD,
]
refused = st.sampled_from(REFUSED)


SPOILERS: list[str] = [*'/:@.-_$%?# \t\n\0"\\Aé1', "..", "//", "%2f", ":1", "library/", "http://", ""]


@st.composite
def spoilt(draw: st.DrawFn) -> str:
    """Return a trusted image with one change."""
    text = draw(trusted)
    position = draw(st.integers(0, len(text)))
    what = draw(st.sampled_from(SPOILERS))
    cut = draw(st.integers(0, 3))
    return text[:position] + what + text[position + cut :]


images = (
    trusted | trusted | trusted | refused | spoilt() | references() | near_misses() | st.text(max_size=30)
)


KINDS = {
    "pods": ("", "Pod"),
    "deployments": ("apps", "Deployment"),
    "cronjobs": ("batch", "CronJob"),
    "jobs": ("batch", "Job"),
    "clonesets": ("apps.kruise.io", "CloneSet"),
}
JUNK: list[Any] = [None, True, 0, 1.5, "", "x", [], [None], {}, {"image": 5}, [[]], {"spec": None}]
LISTS = ("containers", "initContainers", "ephemeralContainers")


class Requests:
    """Generates raw requests from one seed: most of them valid except for one thing.

    Not a strategy of Hypothesis, which prefers small and similar values. A bypass needs one bad image among
    many good ones.
    """

    def __init__(self, random: Random) -> None:
        """Take every choice from ``random``."""
        self.random = random
        self.oddness = random.choice([0.0, 0.02, 0.1])

    def make(self) -> dict[str, Any]:
        """Return one more request."""
        choose = self.random.choice
        resource = choose(["pods", "pods", "pods", *KINDS])
        group, kind = KINDS[resource]
        operation = choose(["CREATE"] * 4 + ["UPDATE"] * 5 + ["DELETE", "CONNECT", "PATCH"])
        spec = self.spec()
        old = None
        if operation != "CREATE" and self.often():
            # An image that was admitted once may have lost its trust since.
            for _ in range(choose([0, 1, 2])):
                self.change(spec)
            old = copy.deepcopy(spec)
        for _ in range(choose([0, 0, 1, 1, 1, 2])):
            self.change(spec)
        metadata: dict[str, Any] = {"name": "web"}
        user: dict[str, Any] = {"username": "dev", "groups": ["system:authenticated"]}
        if self.seldom():
            metadata["annotations"] = {"kubernetes.io/config.mirror": "x", "swr-trust/break-glass": "now"}
            spec["nodeName"] = choose(["n1", "n1", "n2", ""])
            user = {"username": "system:node:n1", "groups": choose([["system:nodes"], [], None])}
        return {
            "uid": choose([UID, "x", "\u00e9\U0001f600"]),
            "kind": {"group": group, "version": "v1", "kind": self.odd(kind, ["Scale", "Pod"])},
            "resource": {"group": group, "version": self.odd("v1", ["v2", ""]), "resource": resource},
            "subResource": choose([""] * 9 + ["ephemeralcontainers"] * 2 + ["status", "resize", "future"]),
            "namespace": choose(["shop", "", "kube-system"]),
            "operation": operation,
            "userInfo": user,
            "object": self.odd({"metadata": metadata, "spec": wrap(resource, spec)}, JUNK),
            "oldObject": None if old is None else self.odd({"spec": wrap(resource, old)}, JUNK),
            "dryRun": choose([None, True, False]),
        }

    def spec(self) -> dict[str, Any]:
        """Return the spec of a Pod of trusted images."""
        spec: dict[str, Any] = {"containers": self.containers()}
        for name in LISTS[1:]:
            if self.often():
                spec[name] = self.containers()
        if self.often():
            spec["volumes"] = [self.volume(self.good()) for _ in range(self.random.randrange(4))]
        return spec

    def change(self, spec: dict[str, Any]) -> None:
        """Change a spec, most often by adding an image that is not trusted."""
        for name in (*LISTS, "volumes"):
            if not isinstance(spec.get(name, []), list):
                return
        places = [item for name in LISTS for item in spec.get(name, ()) if isinstance(item, dict)]
        kind = self.random.randrange(10)
        if kind < 4 and places:
            self.random.choice(places)["image"] = self.poor()
        elif kind < 6:
            spec.setdefault("volumes", []).append(self.volume(self.poor()))
        elif kind < 7 and len(places) > 1:
            first, second = self.random.sample(places, 2)
            first["image"], second["image"] = second.get("image"), first.get("image")
        elif kind < 8 and places:
            self.random.choice(places)["name"] = self.random.choice("abc")
        elif kind < 9:
            name = self.random.choice(LISTS)
            spec[name] = [*spec.get(name, []), *self.containers()]
        else:
            spec[self.random.choice([*LISTS, "volumes", "nodeName"])] = copy.deepcopy(
                self.random.choice(JUNK)
            )

    def containers(self) -> list[Any]:
        """Return a list of trusted containers, sometimes with an unusual value."""
        return [self.odd(self.container(), JUNK) for _ in range(self.random.randrange(4))]

    def container(self) -> dict[str, Any]:
        """Return a container of a trusted image."""
        item: dict[str, Any] = {"name": self.random.choice("abcdef"), "image": self.odd(self.good(), JUNK)}
        if self.seldom():
            item["imagePullPolicy"] = self.odd(self.random.choice(["", "Always", "IfNotPresent"]), JUNK)
        return item

    def volume(self, image: str) -> dict[str, Any]:
        """Return a volume, usually of an image."""
        name = self.random.choice("vw")
        if self.seldom():
            return {"name": name, "emptyDir": {}}
        return {"name": name, "image": self.odd({"reference": image}, JUNK)}

    def good(self) -> str:
        """Return a trusted image."""
        host = self.random.choice([*HOSTS, HOSTS[0], HOSTS[0].upper()])
        return f"{host}/{self.random.choice(TRUSTED)}"

    def poor(self) -> str:
        """Return an image that is not trusted, except for some of the changed ones."""
        if self.often():
            return self.random.choice(REFUSED)
        text = self.good()
        position, cut = self.random.randint(0, len(text)), self.random.randint(0, 3)
        return text[:position] + self.random.choice(SPOILERS) + text[position + cut :]

    def odd(self, value: Any, others: Sequence[Any]) -> Any:
        """Return the value, or sometimes another."""
        return copy.deepcopy(self.random.choice(others)) if self.random.random() < self.oddness else value

    def often(self) -> bool:
        """Return true two times out of three."""
        return self.random.random() < 0.66

    def seldom(self) -> bool:
        """Return true one time out of eight."""
        return self.random.random() < 0.125


def wrap(resource: str, spec: Any) -> dict[str, Any]:
    """Return the spec of an object of this kind around the spec of a Pod."""
    if resource == "pods":
        return dict(spec)
    template = {"template": {"spec": spec}}
    return {"jobTemplate": {"spec": template}} if resource == "cronjobs" else template


def enclose(request: Any) -> bytes:
    """Return the body that contains a request."""
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return the body of a review that was damaged in transit."""
    body = bytearray(enclose(Requests(Random(draw(st.binary(min_size=8, max_size=8)))).make()))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 12)))
        piece = draw(
            st.binary(max_size=6)
            | st.sampled_from(
                [b'"', b"}", b"]", b",", b"null", b"\\u0000", b'"image":"nginx",', b'"spec":{},']
            )
            | st.just(bytes(body[start:end]) * 2)
        )
        body[start:end] = piece
    return bytes(body)
