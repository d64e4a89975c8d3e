"""The configuration file: read, checked, watched, compiled; and what it makes of one image."""
