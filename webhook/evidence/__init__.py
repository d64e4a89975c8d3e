"""What makes images trusted: the tag detail of SWR, signatures, or both."""
