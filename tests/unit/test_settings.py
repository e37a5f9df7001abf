from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.settings import SECRETS, Settings

KEY = "ab" * 32


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, text):
    path = Path(name)
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    return path


def test_arguments_beat_the_environment_beats_the_file_beats_defaults():
    assert Settings.load(environ={}).log_level == "warning"
    write("pyproject.toml", '[tool.datamig]\nlog_level = "error"')
    assert Settings.load(environ={}).log_level == "error"
    write("datamig.toml", 'log_level = "info"')
    assert Settings.load(environ={}).log_level == "info"
    assert Settings.load(environ={"LOG_LEVEL": "debug"}).log_level == "debug"
    assert Settings.load(environ={"LOG_LEVEL": "debug"}, log_level="critical").log_level == "critical"
    assert Settings.load(environ={"LOG_LEVEL": ""}, log_level=None).log_level == "info"


def test_a_file_that_is_named_is_the_only_one_read():
    write("datamig.toml", 'log_level = "info"')
    named = write("other.toml", "chunk_seconds = 0.25")
    settings = Settings.load(config=named, environ={})
    assert (settings.log_level, settings.chunk_seconds) == ("warning", 0.25)


def test_everything_that_can_stand_in_the_file_gets_its_type():
    write(
        "datamig.toml",
        """
        database_url = "postgresql://app@db/taaxdog"
        backup_dir = "/srv/backups"
        lock_timeout = 2
        allow_unique_index_loss = true
        migrations = ["a", "b.c"]
        [profile.tables.users]
        names = ["people"]
        """,
    )
    settings = Settings.load(environ={})
    assert settings.database_url == "postgresql://app@db/taaxdog"
    assert settings.backup_dir == Path("/srv/backups")
    assert (settings.lock_timeout, settings.allow_unique_index_loss) == (2, True)
    assert settings.migrations == ("a", "b.c")
    assert settings.profile == {"tables": {"users": {"names": ["people"]}}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("chunk_seconds", "lock_timeout", "ddl_patience", "outage_patience",
                                     "lease_seconds")
          for value in ('"abc"', "-1", "0", "nan", "inf", "true", "[]", "{}")),
        ("chunk_seconds", "1.01"),
        ("backup_dir", "3"),
        ("database_url", "3"),
        ("log_level", "3"),
        ("migrations", '"x"'),
        ("migrations", "[3]"),
        ("migrations", '[""]'),
        ("migrations", "{}"),
        ("allow_unique_index_loss", '"no"'),
        ("allow_unique_index_loss", "1"),
        ("profile", "3"),
        ("profile", '["users"]'),
        ("batch", "3"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused_and_named(name, value):
    write("datamig.toml", f"{name} = {value}")
    with pytest.raises(SettingsError, match=name):
        Settings.load(environ={})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("datamig.toml", "log_level = "),
        ("datamig.toml", "log_level = 'caf\udce9'"),
        ("pyproject.toml", "[tool"),
        ("pyproject.toml", "tool.datamig = 3"),
    ],
)
def test_a_file_that_does_not_parse_is_refused_and_named(name, text):
    Path(name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError, match=name):
        Settings.load(environ={})


def test_a_missing_or_unreadable_file_is_refused_and_named(folder):
    for config in (folder / "none.toml", folder):
        with pytest.raises(SettingsError, match=f"cannot read {config}"):
            Settings.load(config=config, environ={})


def test_a_pyproject_of_others_says_nothing():
    write("pyproject.toml", "[tool.ruff]\nline-length = 110")
    assert Settings.load(environ={}) == Settings()
    write("pyproject.toml", "tool = 3")
    assert Settings.load(environ={}) == Settings()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("file", ["datamig.toml", "pyproject.toml"])
def test_secrets_in_the_file_are_refused_and_not_quoted(secret, file):
    head = "[tool.datamig]\n" if file == "pyproject.toml" else ""
    write(file, f'{head}{secret.lower()} = "{KEY}"')
    with pytest.raises(SettingsError, match=f"{file} holds {secret.lower()}") as caught:
        Settings.load(environ={})
    assert f"{secret}_FILE" in caught.value.todo
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_come_from_the_environment_or_from_a_file(secret):
    assert getattr(Settings.load(environ={secret: KEY}), secret.lower()) == KEY
    path = write("key", f"{KEY}\n")
    assert getattr(Settings.load(environ={f"{secret}_FILE": str(path)}), secret.lower()) == KEY
    with pytest.raises(SettingsError, match=f"both {secret} and {secret}_FILE"):
        Settings.load(environ={secret: KEY, f"{secret}_FILE": str(path)})


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o666])
def test_a_key_file_open_to_everybody_is_refused(mode):
    path = write("key", KEY)
    path.chmod(mode)
    with pytest.raises(SettingsError, match="FIELD_ENCRYPTION_KEY_FILE") as caught:
        Settings.load(environ={"FIELD_ENCRYPTION_KEY_FILE": str(path)})
    assert caught.value.todo == f"chmod 600 {path}"


def test_a_key_file_that_is_missing_or_no_text_is_refused(folder):
    binary = folder / "binary"
    binary.write_bytes(b"\xff\xfe")
    binary.chmod(0o600)
    for path, words in ((folder / "none", "cannot read"), (binary, "is not text")):
        with pytest.raises(SettingsError, match=words):
            Settings.load(environ={"FIELD_ENCRYPTION_KEY_FILE": str(path)})


def test_the_repr_of_settings_shows_no_secret_and_no_password():
    values = {name.lower(): KEY for name in SECRETS}
    shown = repr(Settings(database_url="postgresql://app:hunter2@db/x", **values))
    assert KEY not in shown
    assert "hunter2" not in shown


def test_no_refusal_quotes_a_text_that_stands_in_the_wrong_place():
    for name in (field.name for field in attrs.fields(Settings) if not field.repr):
        with pytest.raises(SettingsError, match=name) as caught:
            Settings(**{name: [KEY]})
        assert KEY not in str(caught.value)
