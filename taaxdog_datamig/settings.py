"""Settings: arguments > environment > `datamig.toml` (or `[tool.datamig]` in pyproject.toml) > defaults.

Secrets come from the environment or from files, never from arguments or `datamig.toml`, and are never
shown by `repr`. A file named by a `*_FILE` variable must not be readable or writable by everybody.
"""

from __future__ import annotations

import math
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.limits import from_environment, limits
from taaxdog_datamig.retention import holds, retention
from taaxdog_datamig.suggestions import did_you_mean

#: Environment variables that hold a secret; each may also be given as NAME_FILE.
SECRETS = (
    "FIELD_ENCRYPTION_KEY",
    "FIELD_ENCRYPTION_KEYS",
    "FIELD_ENCRYPTION_LEGACY_KEY",
    "PASSWORD_PEPPERS",
    "FAILURE_WEBHOOK",
)

CONFIG_NAME = "datamig.toml"


#: Longest time one chunk transaction may be aimed at, seconds (promise P9).
LONGEST_CHUNK = 1.0


#: Longest time a process that has failed may wait for whoever is called, seconds.
MOST_PATIENCE = 300.0


def _seconds(most: float = math.inf) -> Callable[[object, attrs.Attribute[float], float], None]:
    def check(_: object, attribute: attrs.Attribute[float], value: object) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0 < value < math.inf and value <= most):  # type: ignore[operator]
            limit = "" if most == math.inf else f", {most:g} at the most"
            raise SettingsError(
                f"{attribute.name} is {value!r}", f"It must be a number of seconds above zero{limit}"
            )

    return check


def _a(kind: type, words: str) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    """Refuse another type. The value is not quoted: it may be a secret in the wrong place."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None and not isinstance(value, kind):
            raise SettingsError(f"{attribute.name} is not {words}", f"It has type {type(value).__name__}")

    return check


def _one_of(*words: str) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    """Refuse another word."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in words:
            raise SettingsError(f"{attribute.name} is none of {', '.join(words)}", f"Write {words[0]!r}")

    return check


def _parsed(parse: Callable[[Mapping[str, Any]], object]) -> Callable[[object, Any, Any], None]:
    """Refuse a table that `parse` refuses."""

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, Mapping):
            raise SettingsError(f"{attribute.name} is not a table", f"It has type {type(value).__name__}")
        parse(value)

    return check


def merge_rules(given: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    """The rules of `[merge.rules]`, by table: SQL to order rows by that cannot both stay, best first.

    Raises:
        SettingsError: an unknown key, or a rule that is no list of texts.
    """
    if unknown := sorted(given.keys() - {"rules"}):
        raise SettingsError(f"merge: unknown key {unknown[0]!r}", "Known are: rules")
    rules = given.get("rules", {})
    if not isinstance(rules, Mapping):
        raise SettingsError("merge.rules is not a table", 'Write [merge.rules] and goals = ["created_at"]')
    for table, terms in rules.items():
        if not isinstance(terms, list | tuple) or not all(isinstance(t, str) and t for t in terms):
            raise SettingsError(
                f"merge.rules.{table} is not a list of SQL expressions",
                """Write it as ["(status = 'active') DESC", "updated_at DESC"]""",
            )
    return {table: tuple(terms) for table, terms in rules.items()}


def _names(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(name, str) and name for name in value):
        raise SettingsError(f"{attribute.name} is not a list of names", 'Write it as ["myapp.migrations"]')


def _words(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(word, str) for word in value):
        raise SettingsError(
            f"{attribute.name} is not a list of words",
            'Write it as ["/usr/local/bin/page", "--team", "data"]',
        )


def _tables(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(table, Mapping) for table in value):
        raise SettingsError(
            f"{attribute.name} is not a list of tables", f"Write each one as [[{attribute.name}]]"
        )


def _checks(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(each, Mapping | str) and each for each in value):
        raise SettingsError(
            f"{attribute.name} is no list of checks",
            'Write each one as [[checks]], or name modules: ["myapp.checks"]',
        )


def _folder_or_url(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, Path):
        # A path has lost one of the slashes by now.
        right = not re.match(r"[a-z0-9]{2,}:/", str(value))
    else:
        right = isinstance(value, str) and "://" in value
    if not right:
        raise SettingsError(
            f"{attribute.name} is neither a path nor a URL", "Give a URL, such as s3://bucket/path, as text"
        )


def _workers(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise SettingsError(f"{attribute.name} is {value!r}", 'Give a number of 1 or more, or "auto"')


def _not_negative(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 <= value < math.inf):  # type: ignore[operator]
        raise SettingsError(f"{attribute.name} is {value!r}", "It must be a number, zero or above")


_TEXT = _a(str, "a text")


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be set, resolved once at the start."""

    #: postgresql:// URL, or `embedded:PATH` for the command line. Never guessed.
    database_url: str | None = attrs.field(default=None, repr=False, validator=_TEXT)
    #: One master key: 64 hex digits or 44 base64 characters.
    field_encryption_key: str | None = attrs.field(default=None, repr=False, validator=_TEXT)
    #: Several keys with their ids, separated by commas or line ends; the first is primary.
    field_encryption_keys: str | None = attrs.field(default=None, repr=False, validator=_TEXT)
    #: The application's own key, where it differs: hex, base64 or a pass phrase. Only ever opens values.
    field_encryption_legacy_key: str | None = attrs.field(default=None, repr=False, validator=_TEXT)
    #: What wrapped passwords cannot be verified without, as `passwords.Pepper.parse` reads it.
    password_peppers: str | None = attrs.field(default=None, repr=False, validator=_TEXT)
    #: Where backups go: a folder, or the URL of an object store (a text with ://).
    backup_dir: Path | str = attrs.field(default=Path("backups"), validator=_folder_or_url)
    #: Back up what a run touches before it; False where point-in-time recovery keeps the rows.
    backup_before_run: bool = attrs.field(default=True, validator=_a(bool, "true or false"))
    #: Where the rows that cleanups and merges delete go first.
    archive_dir: Path = attrs.field(default=Path("archives"), validator=_a(Path, "a path"))
    #: What archives are written as: "jsonl" (JSON Lines) or "parquet" (needs the extra of that name).
    archive_format: str = attrs.field(default="jsonl", validator=_one_of("jsonl", "parquet"))
    #: What stands between us and the server: "none", or "transaction" for PgBouncer in that pool mode.
    pooler: str = attrs.field(default="none", validator=_one_of("none", "transaction"))
    log_level: str = attrs.field(default="warning", validator=_TEXT)
    #: Where metrics are kept for node_exporter's textfile collector; None: nowhere.
    metrics_dir: Path | None = attrs.field(default=None, validator=_a(Path, "a path"))
    #: Where metrics are served while a process works, HOST:PORT or PORT; None: nowhere.
    metrics_address: str | None = attrs.field(default=None, validator=_TEXT)
    #: What is called when a run fails: a program and its arguments.
    failure_command: tuple[str, ...] = attrs.field(default=(), validator=_words)
    #: The https:// address that is called when a run fails. Whoever knows it may write there.
    failure_webhook: str | None = attrs.field(default=None, repr=False, validator=_TEXT)
    #: How long each of the two may take, seconds.
    failure_timeout: float = attrs.field(default=10.0, validator=_seconds(MOST_PATIENCE))
    #: Time one chunk transaction should take, seconds. Never above 1 (promise P9).
    chunk_seconds: float = attrs.field(default=0.5, validator=_seconds(LONGEST_CHUNK))
    #: How long a statement waits for a lock before it gives up and is tried again, seconds.
    lock_timeout: float = attrs.field(default=0.3, validator=_seconds())
    #: How long table definitions are tried to be changed in all, seconds.
    ddl_patience: float = attrs.field(default=30.0, validator=_seconds())
    #: How long the server may be away before a run gives up (it stays resumable), seconds.
    outage_patience: float = attrs.field(default=60.0, validator=_seconds())
    #: How long a run's lease lasts without a sign of life, seconds.
    lease_seconds: float = attrs.field(default=15.0, validator=_seconds())
    #: Workers that change rows at once: a number, or "auto" for as many as the server bears.
    workers: int | str = attrs.field(default=1, validator=_workers)
    #: Seconds of rest for each second that a chunk took.
    nice: float = attrs.field(default=0.0, validator=_not_negative)
    #: What a run waits for between chunks: see `limits.Limits`.
    pressure: Mapping[str, Any] = attrs.field(factory=dict, validator=_parsed(limits))
    #: Let a run take the meaning from a unique index on a sensitive column: sealed values all differ.
    allow_unique_index_loss: bool = attrs.field(default=False, validator=_a(bool, "true or false"))
    #: How old records are when their cleanup takes them: see `retention.RETENTION`.
    retention: Mapping[str, Any] = attrs.field(factory=dict, validator=_parsed(retention))
    #: What cleanups never take: see `retention.HOLDS`.
    holds: Mapping[str, Any] = attrs.field(factory=dict, validator=_parsed(holds))
    #: Which of several rows stays where a merge may keep only one: see `merge_rules`.
    merge: Mapping[str, Any] = attrs.field(factory=dict, validator=_parsed(merge_rules))
    #: The application's own legacy forms of passwords, each as `passwords.LegacyForm` has its fields.
    legacy_passwords: tuple[Mapping[str, Any], ...] = attrs.field(default=(), validator=_tables)
    #: Importable modules with custom migrations.
    migrations: tuple[str, ...] = attrs.field(default=(), validator=_names)
    #: A run is refused when something as severe, which no migration mends, is found in what it changes.
    block_on: str = attrs.field(
        default="critical", validator=_one_of("critical", "high", "medium", "low", "warning", "never")
    )
    #: Checks of the user's own: tables as `validation.custom` reads them, or importable modules.
    checks: tuple[Mapping[str, Any] | str, ...] = attrs.field(default=(), validator=_checks)
    #: Overrides of the built-in profile, as in `[profile]` of datamig.toml.
    profile: Mapping[str, Any] = attrs.field(factory=dict, validator=_a(Mapping, "a table"))

    @classmethod
    def load(
        cls,
        *,
        config: Path | None = None,
        environ: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> Settings:
        """Resolve the settings.

        Args:
            config: a TOML file; without it, `datamig.toml` or `pyproject.toml` of the working folder.
            environ: the environment; `os.environ` by default.
            arguments: fields given by the caller; None means not given.

        Raises:
            SettingsError: a file or value does not parse, or a name is unknown.
        """
        environ = os.environ if environ is None else environ
        values = _from_file(config)
        for name in ("DATABASE_URL", "BACKUP_DIR", "ARCHIVE_DIR", "LOG_LEVEL"):
            if environ.get(name):
                values[name.lower()] = environ[name]
        for name in SECRETS:
            if (secret := _secret(environ, name)) is not None:
                values[name.lower()] = secret
        layers = [values.get("pressure"), from_environment(environ), arguments.get("pressure")]
        values |= {name: value for name, value in arguments.items() if value is not None}
        values["pressure"] = _merged(layers)
        # TOML has lists and texts where we have tuples and paths; anything else is refused as it is.
        for name in ("backup_dir", "archive_dir", "metrics_dir"):
            given = values.get(name)
            if isinstance(given, str) and not (name == "backup_dir" and "://" in given):
                values[name] = Path(given)
        for name in ("migrations", "legacy_passwords", "checks", "failure_command"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        known = {field.name for field in attrs.fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise SettingsError(
                f"unknown setting {unknown[0]!r}",
                did_you_mean(unknown[0], known) or f"Known are: {', '.join(sorted(known))}",
            )
        return cls(**values)


def _merged(layers: list[Any]) -> Any:
    """One table of several, the later over the earlier, key by key; what is no table is refused as it is."""
    merged: dict[str, Any] = {}
    for layer in layers:
        if layer is not None and not isinstance(layer, Mapping):
            return layer
        merged |= layer or {}
    return merged


def _from_file(config: Path | None) -> dict[str, Any]:
    if config is not None:
        return _without_secrets(config, _read_toml(config))
    if Path(CONFIG_NAME).exists():
        return _without_secrets(Path(CONFIG_NAME), _read_toml(Path(CONFIG_NAME)))
    project = Path("pyproject.toml")
    match _read_toml(project) if project.is_file() else {}:
        case {"tool": {"datamig": dict(values)}}:
            return _without_secrets(project, values)
        case {"tool": {"datamig": _}}:
            raise SettingsError(f"datamig is not a table in {project}", "Write settings under [tool.datamig]")
    return {}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8, at byte {error.start}", "TOML must be") from None
    except ValueError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


def _without_secrets(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    for name in SECRETS:
        if name.lower() in values:
            raise SettingsError(
                f"{path} holds {name.lower()}", f"Secrets belong in {name} or in a file named by {name}_FILE"
            )
    return values


def _secret(environ: Mapping[str, str], name: str) -> str | None:
    direct, file = environ.get(name), environ.get(f"{name}_FILE")
    if direct and file:
        raise SettingsError(f"both {name} and {name}_FILE are set", "Unset one of them")
    if not file:
        return direct or None
    path = Path(file)
    try:
        if path.is_dir():
            raise SettingsError(f"{path}, named by {name}_FILE, is a folder", "Name the file with the key")
        if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise SettingsError(f"everybody may read {path}, named by {name}_FILE", f"chmod 600 {path}")
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"cannot read {path}, named by {name}_FILE: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(
            f"{path}, named by {name}_FILE, is not text", "It must hold a key as text"
        ) from None
