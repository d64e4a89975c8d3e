"""Looking for a way round the gate with inputs that nobody thought of."""
