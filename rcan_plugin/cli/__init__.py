"""Command line programs, one module a command."""
