"""Verification of image signatures by public keys. Pure: no network, no files."""
