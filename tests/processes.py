"""Python processes of a test's own."""

import subprocess
import sys


def python(code, *arguments, **options):
    """Run code with arguments; the finished process, with its output as text."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=180, **options)
