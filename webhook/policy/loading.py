"""Loading of the configuration file; reports all problems at once, each with its path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic import ValidationError

from webhook.errors import ConfigError, Problem
from webhook.policy.compiling import compile_policy
from webhook.policy.document import join_path, read_document
from webhook.policy.explaining import explain
from webhook.policy.files import read_file
from webhook.policy.model import Policy
from webhook.policy.schema import PolicyModel
from webhook.regions import find_region, suggest_region

MAX_PROBLEMS: Final = 100
"""Problems that are listed; others are counted."""


def load_policy(path: str) -> Policy:
    """Read the file at ``path``.

    Raises:
        ConfigError: it cannot be read or used; lists every problem.
    """
    return parse_policy(read_file(path))


def parse_policy(data: bytes | str) -> Policy:
    """Read a configuration from its text.

    Raises:
        ConfigError: it cannot be used; lists every problem.
    """
    raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    value, problems = read_document(raw)
    model: PolicyModel | None = None
    try:
        model = PolicyModel.model_validate(value)
    except ValidationError as error:
        problems += explain(error)
    problems += _check_regions(value)
    problems += _check_credentials(value)
    problems += _check_names(value)
    if problems or model is None:
        raise ConfigError(_bounded(_first_of_each(problems)))
    return compile_policy(model, hashlib.sha256(raw).hexdigest()[:12])


def _first_of_each(problems: Iterable[Problem]) -> list[Problem]:
    """Return one problem per path, so that a missing value is not also reported as a wrong one."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.path, problem)
    return list(first.values())


def _bounded(problems: list[Problem]) -> list[Problem]:
    more = len(problems) - MAX_PROBLEMS
    if more <= 0:
        return problems
    return [*problems[:MAX_PROBLEMS], Problem("", f"and {more} more problems")]


# The following checks compare parts of the file that the schema validates separately. They use the raw
# values, so that their problems are reported together with all others.


def _check_regions(value: dict[str, Any]) -> Iterator[Problem]:
    for path, entry in _entries(value, "registries"):
        region = entry.get("region")
        if not isinstance(region, str) or find_region(region) is not None:
            continue
        absent = [key for key in ("hosts", "endpoint", "iamEndpoint") if key not in entry]
        if absent:
            close = suggest_region(region)
            hint = f", or did you mean {close}?" if close is not None else ""
            yield Problem(
                join_path(path, "region"),
                f"is not in the table of regions: write {_listed(absent)} as well{hint}",
            )


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def _check_credentials(value: dict[str, Any]) -> Iterator[Problem]:
    default = value.get("credentials")
    for path, entry in _entries(value, "registries"):
        credentials = entry.get("credentials", default)
        if credentials is None and "credentials" not in entry and "credentials" not in value:
            yield Problem(
                join_path(path, "credentials"),
                "is missing, and there is none at the top level: write credentials with a kind",
            )
        if not isinstance(credentials, dict):
            continue
        region = entry.get("region")
        if (
            credentials.get("kind") == "oidc"
            and "agencyUrn" in credentials
            and "stsEndpoint" not in credentials
            and isinstance(region, str)
            and find_region(region) is None
        ):
            below = path if "credentials" in entry else ""
            yield Problem(
                join_path(join_path(below, "credentials"), "stsEndpoint"),
                f"is missing: the region of {path} is not in the table of regions",
            )


def _check_names(value: dict[str, Any]) -> Iterator[Problem]:
    for key in ("rules", "exemptions"):
        seen: set[str] = set()
        for path, entry in _entries(value, key):
            name = entry.get("name")
            if isinstance(name, str) and name.strip():
                if name.strip() in seen:
                    yield Problem(
                        join_path(path, "name"), "is also the name of an entry above: give each a unique name"
                    )
                seen.add(name.strip())


def _entries(value: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = value.get(key)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield join_path(key, index), entry
