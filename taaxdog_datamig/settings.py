"""Settings: arguments > environment > `datamig.toml` (or `[tool.datamig]` in pyproject.toml) > defaults.

Secrets come from the environment or from files, never from arguments or `datamig.toml`, and are never
shown by `repr`. A file named by a `*_FILE` variable must not be readable or writable by everybody.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from taaxdog_datamig.errors import SettingsError

#: Environment variables that hold a secret; each may also be given as NAME_FILE.
SECRETS = ("FIELD_ENCRYPTION_KEY", "FIELD_ENCRYPTION_KEYS", "FIELD_ENCRYPTION_LEGACY_KEY")

CONFIG_NAME = "datamig.toml"


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if value <= 0:
        raise SettingsError(f"{attribute.name} is {value}", "It must be greater than zero")


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be set, resolved once at the start."""

    #: postgresql:// URL, or `embedded:PATH` for the command line. Never guessed.
    database_url: str | None = attrs.field(default=None, repr=False)
    #: One master key: 64 hex digits or 44 base64 characters.
    field_encryption_key: str | None = attrs.field(default=None, repr=False)
    #: Several, `id:key` separated by commas or line ends; the first is primary.
    field_encryption_keys: str | None = attrs.field(default=None, repr=False)
    #: The application's own key, where it differs: hex, base64 or a pass phrase. Only ever opens values.
    field_encryption_legacy_key: str | None = attrs.field(default=None, repr=False)
    backup_dir: Path = Path("backups")
    log_level: str = "warning"
    #: Time one chunk transaction should take, seconds. Never above 1 (promise P9).
    chunk_seconds: float = attrs.field(default=0.5, validator=[_positive, attrs.validators.le(1.0)])
    #: How long a statement waits for a lock before it gives up and is tried again, seconds.
    lock_timeout: float = attrs.field(default=0.3, validator=_positive)
    #: How long table definitions are tried to be changed in all, seconds.
    ddl_patience: float = attrs.field(default=30.0, validator=_positive)
    #: How long the server may be away before a run gives up (it stays resumable), seconds.
    outage_patience: float = attrs.field(default=60.0, validator=_positive)
    #: How long a run's lease lasts without a sign of life, seconds.
    lease_seconds: float = attrs.field(default=15.0, validator=_positive)
    #: Let a run take the meaning from a unique index on a sensitive column: sealed values all differ.
    allow_unique_index_loss: bool = False
    #: Importable modules with custom migrations.
    migrations: tuple[str, ...] = ()
    #: Overrides of the built-in profile, as in `[profile]` of datamig.toml.
    profile: Mapping[str, Any] = attrs.field(factory=dict)

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
        for name in ("DATABASE_URL", "BACKUP_DIR", "LOG_LEVEL"):
            if environ.get(name):
                values[name.lower()] = environ[name]
        for name in SECRETS:
            if (secret := _secret(environ, name)) is not None:
                values[name.lower()] = secret
        values |= {name: value for name, value in arguments.items() if value is not None}
        if "backup_dir" in values:
            values["backup_dir"] = Path(values["backup_dir"])
        if "migrations" in values:
            values["migrations"] = tuple(values["migrations"])
        known = {field.name for field in attrs.fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise SettingsError(f"unknown setting {unknown[0]!r}", f"Known are: {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"a setting does not fit: {error}") from None


def _from_file(config: Path | None) -> dict[str, Any]:
    if config is not None:
        return _read_toml(config)
    if Path(CONFIG_NAME).is_file():
        return _read_toml(Path(CONFIG_NAME))
    project = Path("pyproject.toml")
    if project.is_file():
        return dict(_read_toml(project).get("tool", {}).get("datamig", {}))
    return {}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
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
        if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise SettingsError(f"everybody may read {path}, named by {name}_FILE", f"chmod 600 {path}")
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"cannot read {path}, named by {name}_FILE: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(
            f"{path}, named by {name}_FILE, is not text", "It must hold a key as text"
        ) from None
