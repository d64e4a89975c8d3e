"""Repositories for control requests: random, and in an organization that is not the author's to choose."""

from __future__ import annotations

import re

from tests.support.fakes import FakeClock
from webhook.oci.control_repositories import (
    MAX_ORGANIZATIONS,
    NAME_SECONDS,
    ControlRepositories,
    make_control_tag,
)


def organization(repositories: ControlRepositories, repository: str) -> str | None:
    """Return the organization of the control request beside one about a repository."""
    chosen = repositories.choose(repository)
    return chosen.partition("/")[0] if chosen is not None else None


def test_organization_without_an_answer_is_not_used() -> None:
    """Its name is the author's, and a firewall may break every connection with it."""
    probes = ControlRepositories(())
    assert organization(probes, "shop/web") is None
    probes.record_found("shop/web")
    assert organization(probes, "evil/web") == "shop"


def test_other_organization_is_preferred() -> None:
    """That of the image may belong to its author."""
    probes = ControlRepositories(())
    probes.record_found("shop/web")
    assert organization(probes, "shop/api") == "shop"
    probes.record_found("team/tools/web")
    assert organization(probes, "shop/api") == "team"
    assert organization(probes, "team/tools/web") == "shop"


def test_organizations_of_the_policy_are_known_from_the_start() -> None:
    """An operator has chosen the names. After a start there are no answers yet."""
    probes = ControlRepositories({"team", "shop"})
    assert organization(probes, "shop/web") == "team"
    assert organization(ControlRepositories({"shop"}), "shop/web") == "shop"


def test_refused_organization_is_not_used_until_it_answers() -> None:
    """A refusal shows nothing about manifests."""
    probes = ControlRepositories({"shop", "team"})
    probes.forget("team/swr-trust-probe-0")
    assert organization(probes, "shop/web") == "shop"
    probes.forget("shop/swr-trust-probe-0")
    assert organization(probes, "shop/web") is None
    probes.record_found("team/web")
    assert organization(probes, "shop/web") == "team"


def test_first_organizations_stay() -> None:
    """Nobody can displace them, and memory is bounded."""
    probes = ControlRepositories(())
    for number in range(MAX_ORGANIZATIONS + 50):
        probes.record_found(f"o{number}/web")
    assert organization(probes, "shop/web") == "o0"
    assert organization(probes, "o0/web") == "o1"
    assert len(probes._known) == MAX_ORGANIZATIONS


def test_name_cannot_be_guessed_and_is_kept_for_its_token() -> None:
    """Each organization has its own, which changes: the owner of one may see the requests."""
    clock = FakeClock()
    probes, others = (
        ControlRepositories({"shop", "team"}, clock),
        ControlRepositories({"shop", "team"}, clock),
    )
    first = probes.choose("shop/web")
    assert first is not None
    assert re.fullmatch(r"team/swr-trust-probe-[0-9a-f]{16}", first)
    clock.tick(NAME_SECONDS - 1)
    assert probes.choose("shop/api") == first
    clock.tick(1)
    names = [first, probes.choose("shop/web"), probes.choose("team/web"), others.choose("shop/web")]
    assert len({str(name).partition("/")[2] for name in names}) == len(names)


def test_tag_is_another_one_each_time() -> None:
    """It does not exist, even if somebody pushes to the repository."""
    assert re.fullmatch("[0-9a-f]{16}", make_control_tag())
    assert make_control_tag() != make_control_tag()
