"""Digests by which we know that a migration, and what it applies to, are still the same."""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any

import orjson

from taaxdog_datamig.ledger import package_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.migration import BaseMigration, Target


def _code(migration: BaseMigration) -> list[Any]:
    """What a migration is, as JSON: its name, version, source and arguments."""
    try:
        source = inspect.getsource(inspect.getmodule(type(migration)) or type(migration))
    except (OSError, TypeError):  # defined in a shell
        source = ""
    digest = hashlib.sha256(source.encode()).hexdigest()
    return [migration.name, migration.version, digest, dict(migration.context.arguments)]


def fingerprint(migration: BaseMigration, targets: Sequence[Target]) -> str:
    """Changes whenever the migration's code, its predicates or what they apply to change."""
    body = [
        *_code(migration),
        [[target.shape.to_json(), target.pending, [ddl.do for ddl in target.ddl]] for target in targets],
        [target.merge.rules for target in targets if target.merge is not None],
    ]
    return hashlib.sha256(orjson.dumps(body)).hexdigest()


def judge(migration: BaseMigration, target: Target) -> bytes:
    """Digest of all that decides about a row but the row itself."""
    keyring = migration.context.keyring
    body = [
        package_version(),
        *_code(migration),
        target.pending,
        target.inspect,
        target.shape.table,
        [[field.name, field.column] for field in target.shape.columns],
        keyring.kids if keyring else None,
    ]
    return hashlib.sha256(orjson.dumps(body)).digest()
