"""A plugin for pytest: writes each test's outcome to a file at once, and leaves out tests that passed before.

The file is named by LADDER_OUTCOMES, a line of JSON a test. LADDER_BEFORE names such a file of an earlier run.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    passed = {test for test, line in outcomes(Path(os.environ["LADDER_BEFORE"])).items() if line["outcome"] == "passed"}
    again = [item for item in items if item.nodeid not in passed]
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = again


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":  # a test that was not set up has no call
        _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _note(report)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # the process that started the workers gets their reports
        return
    lines = str(report.longrepr).splitlines()
    reason = next((line[1:].strip() for line in lines if line.startswith("E ")), lines[-1]) if report.failed else ""
    with Path(os.environ["LADDER_OUTCOMES"]).open("a") as file:
        file.write(json.dumps({"test": report.nodeid, "outcome": report.outcome, "reason": reason[:300]}) + "\n")


def outcomes(path: Path) -> dict[str, dict[str, Any]]:
    """The last line of each test in a file; none if there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {line["test"]: line for line in map(json.loads, lines)}
