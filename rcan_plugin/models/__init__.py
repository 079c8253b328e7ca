"""BasicSR's SRModel, faster and safer: `AcceleratedSRModel`."""

# First: the import of BasicSR imports the plugin's classes, which must not find a module of this room half imported.
import basicsr  # noqa: F401
