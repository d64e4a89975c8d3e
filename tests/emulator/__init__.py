"""An emulator of SWR and IAM: it answers as documented, and misbehaves on demand."""
