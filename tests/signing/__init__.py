"""Signatures for tests: making them, storing them as a registry does, and finding them again."""
