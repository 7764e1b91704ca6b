"""What a test needs of the machine."""

import os


def needs(found: object, what: str) -> None:
    """Skip the test where nothing was found; fail where the variable CI says that all is there."""
    if not found:
        import pytest  # only here: programs that use this run without it

        if os.environ.get("CI"):
            pytest.fail(f"this test needs {what}, which CI must have")
        pytest.skip(f"needs {what}")
