"""Option files: what they may say, checked before anything is built, moved or written."""
