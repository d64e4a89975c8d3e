"""Evidence of trust: the tag detail of SWR, signatures, or both."""
