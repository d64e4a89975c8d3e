"""``swr-trust config schema``: the JSON Schema of the policy file, for editors."""

from __future__ import annotations

import argparse
import json
import sys

from webhook.cli.exit_codes import EXIT_OK
from webhook.policy.schema import build_json_schema


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    del options
    sys.stdout.write(json.dumps(build_json_schema(), indent=2, ensure_ascii=False) + "\n")
    return EXIT_OK
