"""An emulator of SWR and IAM, with the documented answers and configurable faults."""
