"""Image references and image patterns as data: parsed, normalized and compared, never looked up."""
