"""``swr-trust config``: check a policy file, or print its JSON Schema."""

from __future__ import annotations

import time

import click

from webhook.cli.command import Command
from webhook.cli.exit_codes import EXIT_OK, EXIT_USAGE
from webhook.cli.options import FILE, output_option
from webhook.cli.rendering import print_json
from webhook.errors import ConfigError, Problem
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
@output_option("table", "json")
def check(config: str, output: str) -> int:
    """Check a policy file.

    Lists every problem of the file, and warnings about settings that weaken the protection. Problems
    make exit code 2, warnings do not.
    """
    errors: tuple[Problem, ...] = ()
    warnings: list[Problem] = []
    try:
        warnings = lint(load_policy(config), time.time())
    except ConfigError as error:
        errors = error.problems
    if output == "json":
        report = {"file": config, "valid": not errors, "errors": _rows(errors), "warnings": _rows(warnings)}
        print_json(report)
    else:
        for problem in errors:
            print(f"error: {problem}")
        for problem in warnings:
            print(f"warning: {problem}")
        counted = f", {len(warnings)} warning(s)" if warnings else ""
        print(
            f"{config}: {len(errors)} error(s); it cannot be used" if errors else f"{config}: valid{counted}"
        )
    return EXIT_USAGE if errors else EXIT_OK


def _rows(problems: tuple[Problem, ...] | list[Problem]) -> list[dict[str, str]]:
    return [{"path": problem.path, "message": problem.message} for problem in problems]


@command.command(cls=Command, examples=["swr-trust config schema > schema.json"])
def schema() -> int:
    """Print the JSON Schema of the policy file, for editors."""
    print_json(build_json_schema())
    return EXIT_OK
