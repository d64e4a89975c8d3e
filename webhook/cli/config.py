"""``swr-trust config``: check a policy file, or print its JSON Schema."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from webhook.cli.command import Command
from webhook.cli.exit_codes import EXIT_OK, EXIT_USAGE
from webhook.cli.options import FILE, output_option
from webhook.cli.rendering import print_json
from webhook.errors import ConfigError, Problem
from webhook.policy.evidence_linting import find_lapsed
from webhook.policy.linting import lint
from webhook.policy.loading import load_policy
from webhook.policy.schema import build_json_schema


@click.group()
def command() -> None:
    """Check a policy file, or print its JSON Schema."""


@command.command(
    cls=Command, examples=["swr-trust config check policy.yaml", "swr-trust config check -o json policy.yaml"]
)
@click.argument("config", metavar="FILE", type=FILE)
@click.option(
    "--no-key-files", is_flag=True, help="Do not read the files of signing keys, which may be elsewhere."
)
@output_option("table", "json")
def check(config: str, output: str, *, no_key_files: bool) -> int:
    """Check a policy file.

    Lists every problem of the file and of its signing keys, and warnings about settings that weaken the
    protection. Problems make exit code 2, warnings do not.
    """
    errors: Sequence[Problem] = ()
    warnings: list[Problem] = []
    can_be_used, now = True, time.time()
    try:
        policy = load_policy(config, with_keys=not no_key_files)
        errors, warnings = find_lapsed(policy, now), lint(policy, now)
    except ConfigError as error:
        errors, can_be_used = error.problems, False
    if output == "json":
        report = {"file": config, "valid": not errors, "errors": _rows(errors), "warnings": _rows(warnings)}
        print_json(report)
    else:
        for problem in errors:
            print(f"error: {problem}")
        for problem in warnings:
            print(f"warning: {problem}")
        counted = f", {len(warnings)} warning(s)" if warnings else ""
        found = f"{len(errors)} error(s)" if errors else "valid"
        print(f"{config}: {found}{counted}" if can_be_used else f"{config}: {found}; it cannot be used")
    return EXIT_USAGE if errors else EXIT_OK


def _rows(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"path": problem.path, "message": problem.message} for problem in problems]


@command.command(cls=Command, examples=["swr-trust config schema > schema.json"])
def schema() -> int:
    """Print the JSON Schema of the policy file, for editors."""
    print_json(build_json_schema())
    return EXIT_OK
