"""SWR and IAM: the calls, how they are authorised, and how strictly their answers are read."""
