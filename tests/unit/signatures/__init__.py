"""Tests of ``webhook.signatures``."""
