"""SWR and IAM: HTTP calls, credentials, and strict parsing of responses."""
