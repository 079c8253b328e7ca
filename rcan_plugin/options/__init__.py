"""Option files: allowed keys and values, checked before anything is built, moved or written."""
