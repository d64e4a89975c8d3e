"""What tests put around the program that they start."""
