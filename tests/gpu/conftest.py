"""The fixtures of the models' tests, for those on a GPU."""

from tests.models.conftest import log, options

__all__ = ["log", "options"]
