"""The configuration file: loading, validation, reloading, and the compiled policy."""
