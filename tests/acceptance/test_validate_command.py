"""`validate` as people and CI jobs call it: formats, files, baseline, history, exit codes, and no value."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import asyncpg
import pytest
from calling import Datamig

#: A check that the sample breaks, and nothing worse than low.
ONE = ("--check", "goal-over-target")


READERS = {
    "text": lambda text: "goal-over-target" in text,
    "json": lambda text: json.loads(text)["schema"] == "datamig/validation/1",
    "junit": lambda text: ET.fromstring(text).tag == "testsuites",
    "sarif": lambda text: json.loads(text)["version"] == "2.1.0",
    "html": lambda text: re.match("<!DOCTYPE html>.*<title>Validation of .*</html>\n$", text, re.DOTALL),
}
ENDINGS = {"text": "txt", "json": "json", "junit": "xml", "sarif": "sarif", "html": "html"}


@pytest.mark.parametrize("form", [*READERS, "--json"])
def test_each_format_on_stdout_is_nothing_but_the_document(migrating: Datamig, form):
    words = (form,) if form == "--json" else ("--format", form)
    done = migrating("validate", *ONE, *words, "--quiet")
    assert done.returncode == 3
    assert done.stderr == ""
    assert READERS[form.removeprefix("--")](done.stdout)


def test_one_validation_writes_every_format_by_its_ending_and_shows_the_page(migrating: Datamig, tmp_path):
    targets = [word for ending in ENDINGS.values() for word in ("--output", f"r.{ending}")]
    done = migrating("validate", *ONE, *targets)
    assert done.returncode == 3
    for form, ending in ENDINGS.items():
        assert READERS[form]((tmp_path / f"r.{ending}").read_text())
    assert done.stdout == (tmp_path / "r.txt").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {f"r.{ending}" for ending in ENDINGS.values()}


def test_findings_milder_than_fail_on_are_told_and_exit_with_0(migrating: Datamig):
    done = migrating("validate", *ONE, "--fail-on", "medium")
    assert done.returncode == 0
    assert "goal-over-target" in done.stdout


async def test_a_baseline_hides_what_was_known_and_lets_new_findings_fail(
    migrating: Datamig, sample, tmp_path
):
    assert migrating("validate", *ONE, "--output", "then.json").returncode == 3
    same = migrating("validate", *ONE, "--baseline", "then.json")
    assert same.returncode == 0
    assert "known since the baseline" in same.stdout
    assert "Nothing new is wrong" in same.stdout
    connection = await asyncpg.connect(sample)
    await connection.execute(
        "UPDATE goals SET status = 'ACTIVE', current_amount = target_amount + 1 WHERE id = ("
        "SELECT id FROM goals WHERE current_amount <= target_amount ORDER BY id LIMIT 1)"
    )
    await connection.close()
    worse = migrating("validate", *ONE, "--baseline", "then.json", "--output", "now.json")
    assert worse.returncode == 3
    assert "(1 new)" in worse.stdout
    (now,) = json.loads((tmp_path / "now.json").read_text())["checks"]
    (then,) = json.loads((tmp_path / "then.json").read_text())["checks"]
    assert now["violations"] == then["violations"] + 1
    assert now["before"] == then["violations"]


def test_a_trend_is_drawn_from_the_folder_of_earlier_reports(migrating: Datamig, tmp_path):
    words = ("validate", *ONE, "--history", "kept/here", "--output", "r.html")
    migrating(*words)
    assert "Trend over" not in (tmp_path / "r.html").read_text()
    (tmp_path / "kept/here/validation-0.json").write_text("{")
    second = migrating(*words)
    assert "Trend over 2 validations" in (tmp_path / "r.html").read_text()
    assert "left out of the trend: kept/here/validation-0.json is not JSON" in second.stderr
    assert len(list((tmp_path / "kept/here").glob("validation-2*.json"))) == 2


def test_progress_goes_to_stderr(migrating: Datamig):
    done = migrating("validate", *ONE, "--format", "sarif", "--verbose")
    assert "Checked what=public.goals done=1 total=1" in done.stderr
    json.loads(done.stdout)


#: Columns of the sample whose values nobody else may see, whether sealed or not.
SENSITIVE = {
    "users": ("tfn", '"taxFileNumber"', '"twoFactorSecret"', "password", "phone", "email"),
    "basiq_users": ("mobile", "email"),
    "bank_accounts": ("account_number", "bsb"),
}


async def test_no_format_holds_a_value_of_a_sensitive_column(migrating: Datamig, sample, tmp_path):
    targets = [word for ending in ENDINGS.values() for word in ("--output", f"r.{ending}")]
    done = migrating("validate", "--fail-on", "warning", "--history", "kept", "--verbose", *targets)
    assert done.returncode == 3
    texts = [done.stdout, done.stderr, *(path.read_text() for path in tmp_path.rglob("*") if path.is_file())]
    assert len(texts) == 8
    connection = await asyncpg.connect(sample)
    values = {
        row[0]
        for table, columns in SENSITIVE.items()
        for column in columns
        for row in await connection.fetch(
            f"SELECT DISTINCT {column}::text FROM {table} WHERE length({column}::text) > 5"
        )
    }
    await connection.close()
    # A phone number of the sample that is the words "not given" is nobody's, and in a rule's text.
    values.discard("not given")
    assert len(values) > 500
    everything = "\n".join(texts)
    # The number alone, so that a failure shows none of them.
    assert sum(value in everything for value in values) == 0
