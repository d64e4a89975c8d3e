"""SWR and IAM: what is called, strict parsing of responses, and credentials."""
