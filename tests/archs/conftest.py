"""Helper modules with assertions, which pytest rewrites so that failures show values."""

import pytest

pytest.register_assert_rewrite("tests.archs.network_tests")
