"""``swr-trust doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from webhook.admission.messages import printable
from webhook.cli.checks import Check, CheckStatus
from webhook.cli.cluster_checks import CLUSTER, check_cluster
from webhook.cli.exit_codes import EXIT_OK, EXIT_REFUSED, EXIT_UNKNOWN, EXIT_USAGE
from webhook.cli.rendering import print_json
from webhook.cli.swr_checks import check_registries
from webhook.cluster.client import connect
from webhook.errors import ClusterError, ConfigError
from webhook.policy.linting import lint
from webhook.policy.loading import load_policy
from webhook.policy.model import Policy

CONFIGURATION: Final = "configuration"
MAX_TEXT: Final = 1000

_MARKS: Final = {
    CheckStatus.OK: "ok     ",
    CheckStatus.WARNING: "WARNING",
    CheckStatus.FAILED: "FAILED ",
    CheckStatus.UNKNOWN: "unknown",
    CheckStatus.SKIPPED: "skipped",
}


def run(options: argparse.Namespace) -> int:
    """Look at everything and print what is found.

    2 for a policy that cannot be used, 1 where something failed, 3 where something could not be
    looked at, else 0; warnings do not count.
    """
    checks: list[Check] = []
    for check in run_checks(options):
        checks.append(check)
        if options.output != "json":
            _print(check)
            sys.stdout.flush()
    counts = Counter(check.health for check in checks)
    if options.output == "json":
        print_json([_row(check) for check in checks])
    else:
        print(
            f"\n{counts[CheckStatus.OK]} ok, {counts[CheckStatus.WARNING]} warnings, "
            f"{counts[CheckStatus.FAILED]} failed, {counts[CheckStatus.UNKNOWN]} unknown, "
            f"{counts[CheckStatus.SKIPPED]} skipped"
        )
    if any(check.area == CONFIGURATION and check.health is CheckStatus.FAILED for check in checks):
        return EXIT_USAGE
    if counts[CheckStatus.FAILED]:
        return EXIT_REFUSED
    return EXIT_UNKNOWN if counts[CheckStatus.UNKNOWN] else EXIT_OK


def run_checks(options: argparse.Namespace) -> Iterator[Check]:
    """Yield each finding as soon as it is there."""
    policy: Policy | None = None
    try:
        policy = load_policy(options.config)
    except ConfigError as error:
        for problem in error.problems:
            yield Check(CONFIGURATION, options.config, CheckStatus.FAILED, str(problem), "Correct the file.")
    if policy is not None:
        registries = len(policy.registries.registries)
        found = f"valid, mode {policy.mode}, {registries} registries, version {policy.version}"
        yield Check(CONFIGURATION, options.config, CheckStatus.OK, found)
        for problem in lint(policy, time.time()):
            yield Check(CONFIGURATION, options.config, CheckStatus.WARNING, str(problem))
        yield from check_registries(policy, options.image, os.environ)
    if options.no_cluster:
        return
    try:
        api = connect(options.kubeconfig, options.context)
    except ClusterError as error:
        advice = "Give --kubeconfig, or leave the cluster out with --no-cluster."
        yield Check(CLUSTER, "API server", CheckStatus.UNKNOWN, str(error), advice)
        return
    yield from check_cluster(
        api, options.webhook_configuration, options.probe_namespace, policy, dt.datetime.now(dt.UTC)
    )


def _print(check: Check) -> None:
    mark = _MARKS[check.health]
    print(f"{mark}  {check.area}: {check.name}: {printable(check.found, MAX_TEXT)}")
    if check.advice:
        print(f"         {printable(check.advice, MAX_TEXT)}")


def _row(check: Check) -> dict[str, str]:
    return {
        "area": check.area,
        "name": check.name,
        "health": check.health.value,
        "found": check.found,
        "advice": check.advice,
    }
