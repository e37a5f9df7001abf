"""Words that make no command line, and settings that are missing: one sentence each."""

from __future__ import annotations

from pathlib import Path

import pytest

from taaxdog_datamig_cli.main import main


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "LOG_LEVEL", "FIELD_ENCRYPTION_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runn",), 'Unknown command "runn". Did you mean "run"?'),
        (("run",), "no migration is named"),
        (("plan",), "no migration is named"),
        (("run", "x", "--batch-size", "0"), 'Invalid value "0" for --batch-size. Must be >= 1'),
        (("run", "x", "--batch-size=-5"), 'Invalid value "-5" for --batch-size. Must be >= 1'),
        (("run", "x", "--workers", "many"), '"many" is no whole number and not auto'),
        (("run", "x", "--max-quarantine=-1"), 'Invalid value "-1" for --max-quarantine. Must be >= 0'),
        (("run", "x", "--on-failure", "cry"), 'Invalid value "cry" for --on-failure'),
        (("run", "x", "--nope"), "Unknown option: --nope"),
        (("run", "x", "--plan", "missing.json"), "cannot read missing.json: No such file or directory"),
        (("rollback",), "requires an argument"),
        (("list", "--config", "missing.toml"), "cannot read missing.toml"),
        (("sample", "load", "--users", "0"), 'Invalid value "0" for --users. Must be >= 1'),
    ],
)
def test_wrong_words_get_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize(
    "words", [("list",), ("run", "encrypt-user-data"), ("history",), ("status",), ("sample", "load")]
)
def test_a_database_is_never_guessed(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "no database is given" in err
    assert "DATABASE_URL" in err
