"""Importing this patches the standard library, as every command of the program does before anything else."""

from __future__ import annotations

from webhook.patching import patch

patch()
