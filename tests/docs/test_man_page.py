"""The manual page is that of the commands as they are."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from man_page import PATH, page


def test_the_manual_page_is_up_to_date():
    assert page() == PATH.read_text(), "write it anew: python tests/docs/man_page.py"


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_manual_page_formats_without_a_warning():
    words = ["groff", "-man", "-ww", "-Tutf8", str(PATH)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert "--skip-backup" in re.sub(r".\x08", "", done.stdout)  # bold is struck twice
