"""Reports as a browser shows them: whole, silent, alone, and as wide as the window."""

from __future__ import annotations

from pathlib import Path

import pytest
from calling import Datamig

from tests.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

_POINTS = "Array.from(document.querySelectorAll('figure polyline'), line => line.points.numberOfItems)"
_SIDEWAYS = "document.documentElement.scrollWidth - window.innerWidth"
_COLOURS = "['background-color', 'color'].map(name => getComputedStyle(document.body)[name])"
_SORT = (
    "document.querySelector('thead button').click();"
    " document.querySelector('thead [aria-sort]')?.getAttribute('aria-sort')"
)


def test_reports_of_a_real_run_and_validation(migrating: Datamig, tmp_path: Path) -> None:
    run = migrating("run", "encrypt-user-data", "--max-quarantine=99", "--batch-size=5", "--skip-backup")
    assert run.returncode in {0, 5}, run.stderr
    pages = {"run": tmp_path / "run.html", "validation": tmp_path / "validation.html"}
    assert migrating("report", "encrypt-user-data", "--output", str(pages["run"])).returncode == 0
    assert migrating("validate", "--output", str(pages["validation"])).returncode == 3
    with Browser() as browser:
        for page in pages.values():
            seen = []
            for width, dark in ((1_000, False), (390, True)):
                browser.open(page, width=width, dark=dark)
                assert browser.evaluate(_SIDEWAYS) <= 0, f"{page.name} is wider than {width} px"
                seen.append(browser.evaluate(_COLOURS))
            assert seen[0][0] != seen[1][0], "dark where the person wants it dark"
            assert seen[0][1] != seen[1][1]
            if page == pages["run"]:
                points = browser.evaluate(_POINTS)
                moments = browser.evaluate("document.querySelectorAll('details tbody tr').length")
                # A chart of chunks has no point where none was committed.
                assert len(points) == 4
                assert points[0] == moments > 8
                assert all(2 < shown <= moments for shown in points[1:])
            else:
                assert browser.evaluate(_SORT) == "ascending"
        assert browser.complaints == []
        assert set(browser.requests) == {page.as_uri() for page in pages.values()}
