"""Shared test code: fakes, builders, servers and wrappers around the programs that tests start."""
