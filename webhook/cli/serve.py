"""``swr-trust serve``: run the webhook."""

from __future__ import annotations

import argparse


def run(options: argparse.Namespace) -> int:
    """Hand over to the server, which patches the standard library before anything else."""
    from webhook.server.entry import main  # noqa: PLC0415 - it patches sockets when it is run

    return main(options)
