"""Patch the standard library on import, as every command of the program does first."""

from __future__ import annotations

from webhook.patching import patch

patch()
