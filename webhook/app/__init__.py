"""The composition roots: every part of a process is made and connected here, once."""
