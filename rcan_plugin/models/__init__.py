"""BasicSR's SRModel, faster and safer: `AcceleratedSRModel`."""

# First: BasicSR's import triggers the import of our classes, and must not meet one of the modules here half imported.
import basicsr  # noqa: F401
