"""The composition roots: they create and connect all parts of a process."""
