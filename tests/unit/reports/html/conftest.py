"""Fixtures of tests of reports: real runs, made once for the whole suite."""

from __future__ import annotations

import pytest
from report_runs import ReportRuns, made_once


@pytest.fixture(scope="session")
def report_runs(tmp_path_factory: pytest.TempPathFactory) -> ReportRuns:
    """Real runs that finished, were interrupted, were continued, are old, or only measured."""
    return made_once(tmp_path_factory)
