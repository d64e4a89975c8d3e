"""``swr-trust doctor``: check the installation and say how to fix each problem."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from webhook.admission.messages import printable
from webhook.cli.checks import CLUSTER, Check, CheckStatus
from webhook.cli.cluster_checks import check_cluster
from webhook.cli.command import Command
from webhook.cli.exit_codes import EXIT_DENIED, EXIT_OK, EXIT_UNKNOWN, EXIT_USAGE
from webhook.cli.options import (
    cluster_options,
    config_option,
    configuration_option,
    namespace_option,
    output_option,
)
from webhook.cli.rendering import print_json
from webhook.cli.running_images import find_running
from webhook.cli.swr_checks import check_registries
from webhook.cluster.client import KubernetesApi, connect
from webhook.errors import ClusterError, ConfigError
from webhook.policy.evidence_linting import find_lapsed, find_unusable
from webhook.policy.linting import lint
from webhook.policy.loading import load_policy
from webhook.policy.model import Policy
from webhook.policy.signing_keys import any_file

CONFIGURATION: Final = "configuration"
MAX_TEXT: Final = 1000

_MARKS: Final = {
    CheckStatus.OK: "ok     ",
    CheckStatus.WARNING: "WARNING",
    CheckStatus.FAILED: "FAILED ",
    CheckStatus.UNKNOWN: "unknown",
    CheckStatus.SKIPPED: "skipped",
}


@click.command(
    cls=Command,
    examples=[
        "swr-trust doctor --config policy.yaml \\\n    --image swr.cn-north-4.myhuaweicloud.com/shop/web:1.0",
        "swr-trust doctor --config policy.yaml --no-cluster",
    ],
)
@config_option
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="IMAGE",
    help="Existing image to look up in SWR; repeat it for each registry.",
)
@configuration_option
@namespace_option(
    "--probe-namespace",
    default="default",
    help="Namespace in which a Pod is created as a dry run, to see that it is denied.",
)
@click.option("--no-cluster", is_flag=True, help="Do not check the cluster.")
@cluster_options
@output_option("table", "json")
def command(output: str, **options: Any) -> int:
    """Check configuration, SWR and the cluster.

    Each failed check says what to do about it. The exit code is 2 if the policy cannot be used, 1 if a
    check failed, 3 if a check could not run, else 0. Warnings do not change it.
    """
    checks: list[Check] = []
    for check in run_checks(**options):
        checks.append(check)
        if output != "json":
            _print(check)
            sys.stdout.flush()
    counts = Counter(check.status for check in checks)
    if output == "json":
        print_json([_row(check) for check in checks])
    else:
        print(
            f"\n{counts[CheckStatus.OK]} ok, {counts[CheckStatus.WARNING]} warnings, "
            f"{counts[CheckStatus.FAILED]} failed, {counts[CheckStatus.UNKNOWN]} unknown, "
            f"{counts[CheckStatus.SKIPPED]} skipped"
        )
    if any(check.area == CONFIGURATION and check.status is CheckStatus.FAILED for check in checks):
        return EXIT_USAGE
    if counts[CheckStatus.FAILED]:
        return EXIT_DENIED
    return EXIT_UNKNOWN if counts[CheckStatus.UNKNOWN] else EXIT_OK


def run_checks(
    config: str,
    images: Sequence[str],
    webhook_configuration: str | None,
    namespace: str,
    kubeconfig: str | None,
    context: str | None,
    *,
    no_cluster: bool,
) -> Iterator[Check]:
    """Yield the result of each check when it is known."""
    policy: Policy | None = None
    api, no_access = (None, None) if no_cluster else _connect(kubeconfig, context)
    try:
        policy = load_policy(config, may_be_unusable=any_file)
    except ConfigError as error:
        for problem in error.problems:
            yield Check(CONFIGURATION, config, CheckStatus.FAILED, str(problem), "Correct the file.")
    if policy is not None:
        registries = len(policy.registries.registries)
        found = f"valid, mode {policy.mode}, {registries} registries, version {policy.version}"
        yield Check(CONFIGURATION, config, CheckStatus.OK, found)
        now = time.time()
        for problem in find_unusable(policy, now):
            advice = "Correct the file. Until then the key does not count."
            yield Check(CONFIGURATION, config, CheckStatus.FAILED, str(problem), advice)
        for problem in (*find_lapsed(policy, now), *lint(policy, now)):
            yield Check(CONFIGURATION, config, CheckStatus.WARNING, str(problem))
        running = find_running(policy, api) if api is not None else {}
        yield from check_registries(policy, images, os.environ, running=running)
    if no_access is not None:
        yield no_access
    if api is not None:
        yield from check_cluster(api, webhook_configuration, namespace, policy, dt.datetime.now(dt.UTC))


def _connect(kubeconfig: str | None, context: str | None) -> tuple[KubernetesApi | None, Check | None]:
    """Return access to the cluster, or the check that says why there is none."""
    try:
        return connect(kubeconfig, context), None
    except ClusterError as error:
        advice = "Use --kubeconfig, or skip the checks of the cluster with --no-cluster."
        return None, Check(CLUSTER, "API server", CheckStatus.UNKNOWN, str(error), advice)


def _print(check: Check) -> None:
    mark = _MARKS[check.status]
    print(f"{mark}  {check.area}: {check.name}: {printable(check.found, MAX_TEXT)}")
    if check.advice:
        print(f"         {printable(check.advice, MAX_TEXT)}")


def _row(check: Check) -> dict[str, str]:
    return {
        "area": check.area,
        "name": check.name,
        "health": check.status.value,
        "found": check.found,
        "advice": check.advice,
    }
