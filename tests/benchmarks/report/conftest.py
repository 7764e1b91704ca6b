"""One run of three trackers on six sequences for all tests of the report."""

import pytest
import report_results


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Folders of data and results; not to be changed."""
    return report_results.write(
        tmp_path_factory.mktemp("report"), report_results.TRACKERS, report_results.SEQUENCES
    )
