"""Image references and image patterns as data: parsed, normalised and compared, never looked up."""
