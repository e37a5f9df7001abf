"""`validate` without a database: wrong words are told before one is asked, and rules are listed."""

from __future__ import annotations

import json

import pytest

from taaxdog_datamig.validation import RULES
from taaxdog_datamig_cli.main import main


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--output", "gone/r.html"), "cannot write gone/r.html: there is no folder gone"),
        (("--output", "r.pdf"), "nothing says in which format to write r.pdf"),
        (("--baseline", "gone.json"), "cannot read gone.json: No such file or directory"),
        (("--baseline", "plan.json"), "plan.json is no report of a validation"),
        (("--baseline", "future.json"), "future.json is of another version, datamig/validation/9"),
        (("--history", "plan.json"), "cannot make the folder plan.json: File exists"),
        (("--json", "--format", "html"), "--json and --format html both want stdout"),
        (("--list", "--format", "html"), "--list has no form html"),
        (("--list", "--check", "no-such-check"), "there is no check 'no-such-check'"),
    ],
)
def test_wrong_words_are_told_before_a_database_is_asked(tmp_path, monkeypatch, capsys, words, complaint):
    monkeypatch.chdir(tmp_path)
    # Nothing answers there.
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/x")
    (tmp_path / "plan.json").write_text('{"schema": "datamig/plan/1"}')
    (tmp_path / "future.json").write_text('{"schema": "datamig/validation/9"}')
    assert main(["validate", *words]) == 2
    told = capsys.readouterr()
    assert complaint in (told.err or json.loads(told.out)["error"]["what"])
    assert len(told.err.splitlines()) <= 2
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json", "future.json"}


def test_format_json_gives_errors_as_a_document_like_json(capsys):
    assert main(["validate", "--format", "json", "--baseline", "gone.json"]) == 2
    assert json.loads(capsys.readouterr().out)["schema"] == "datamig/error/1"


def test_rules_are_listed_without_a_database(monkeypatch, capsys):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["validate", "--list", "--json"]) == 0
    assert [rule["id"] for rule in json.loads(capsys.readouterr().out)["rules"]] == [
        rule.id for rule in RULES
    ]
    assert main(["validate", "--list", "--category", "data-consistency", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["rules"]
    assert {rule["category"] for rule in listed} == {"data-consistency"}
    assert main(["validate", "--list", "--check", "goal-over-target"]) == 0
    told = capsys.readouterr().out
    assert "meaning" in told
    assert "to mend" in told
