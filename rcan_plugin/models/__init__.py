"""BasicSR's SRModel, faster and safer."""

# First: the import of BasicSR imports our classes, and must not find one of the modules here half made.
import basicsr  # noqa: F401
