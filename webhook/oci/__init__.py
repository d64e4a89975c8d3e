"""The part of the OCI distribution API that verifying signatures takes."""
