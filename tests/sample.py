"""The sample database as tests use it: under fixed keys, read without the package, and compared whole."""

from __future__ import annotations

import base64
import contextlib
import json
import traceback
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import asyncpg
import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taaxdog_datamig import ColumnMigration, Database, Registry, Runner, RunOptions, Settings
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.migrations import BUILTIN

#: The master key of the tests, as FIELD_ENCRYPTION_KEY spells it.
KEY = bytes(range(32)).hex()
#: The key under which the sample's legacy values are sealed.
LEGACY_KEY = bytes(range(64, 96))
USERS = 1_000
SENSITIVE = {
    "users": ("tfn", "taxFileNumber", "twoFactorSecret"),
    "basiq_users": ("mobile",),
    "bank_accounts": ("account_number", "bsb"),
}
NAME = "encrypt-user-data"


async def build(dsn: str) -> None:
    """Fill a template with the sample."""
    await load_sample(dsn, users=USERS, legacy_key=LEGACY_KEY)


async def build_sealed(dsn: str) -> None:
    """Fill a template with the sample after encrypt-user-data. Its run is in the ledger."""
    await build(dsn)
    settings = Settings(
        database_url=dsn,
        field_encryption_key=KEY,
        field_encryption_legacy_key=LEGACY_KEY.hex(),
        backup_before_run=False,
    )
    async with Database.connect(settings=settings) as db:
        await Runner(db).run(NAME)


@contextlib.asynccontextmanager
async def engine(
    dsn: str, *migrations: type[ColumnMigration], environ: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[Runner]:
    """A runner on that database, with settings from the environment; knows these migrations as well.

    Its runs make no backup unless the settings say so.
    """
    settings = {"backup_before_run": False} | settings
    async with Database.connect(settings=Settings.load(environ=environ, database_url=dsn, **settings)) as db:
        registry = Registry.load([*BUILTIN, *migrations], db.settings.migrations)
        yield Runner(db, registry=registry)


async def rows(dsn: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
    """What a query answers, over a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query, *arguments)
    finally:
        await connection.close()


async def script(dsn: str, statements: str) -> None:
    """Run statements, over a connection of their own."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


_CATALOG = """
SELECT format('schema %s', nspname) FROM pg_namespace
 WHERE nspname !~ '^(pg_|information_schema|datamig$)'
UNION ALL
SELECT format('%s.%s %s %s %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
              a.attnotnull, (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
                             WHERE d.adrelid = c.oid AND d.adnum = a.attnum))
 FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm')
   AND c.relnamespace::regnamespace::text !~ '^(pg_(?!temp)|information_schema|datamig$)'
UNION ALL
SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
 WHERE c.relnamespace::regnamespace::text !~ '^(pg_(?!temp)|information_schema|datamig$)'
UNION ALL
SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
 WHERE connamespace::regnamespace::text !~ '^(pg_(?!temp)|information_schema|datamig$)'
"""
_TABLES = """
SELECT c.oid::regclass::text AS name FROM pg_class c
 WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema|datamig$)'
"""


async def state(dsn: str) -> dict[str, Any]:
    """Row count and checksum of every table but the ledger's, and every definition."""
    connection = await asyncpg.connect(dsn)
    try:
        found: dict[str, Any] = {
            "catalog": sorted(row[0] for row in await connection.fetch(_CATALOG)),
        }
        for (name,) in await connection.fetch(_TABLES):
            found[name] = tuple(
                await connection.fetchrow(
                    f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric)::text FROM {name} AS t"
                )
            )
        return found
    finally:
        await connection.close()


async def has_ledger(dsn: str) -> bool:
    return bool((await rows(dsn, "SELECT to_regnamespace('datamig') IS NOT NULL"))[0][0])


Cell = tuple[str, str, str]


async def cells(dsn: str, sensitive: Mapping[str, Iterable[str]] = SENSITIVE) -> dict[Cell, str | None]:
    """What sensitive columns hold, by table, column and key."""
    connection = await asyncpg.connect(dsn)
    try:
        return {
            (table, column, key): text
            for table, columns in sensitive.items()
            for column in columns
            for key, text in await connection.fetch(f'SELECT id::text, "{column}"::text FROM {table}')
        }
    finally:
        await connection.close()


def open_token(token: str, table: str, column: str, *key: str, master: str = KEY) -> str:
    """Open a token with `cryptography` alone, by docs/reference/field-token.md."""
    prefix, version, kid, text = token.split(":")
    assert (prefix, version) == ("encrypted", "v1")
    body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    info = f"taaxdog_datamig/field/v1|{table}|{column}".encode()
    subkey = HKDF(SHA256(), 32, None, info).derive(bytes.fromhex(master))
    aad = json.dumps(
        ["v1", kid, table, column, key[0] if len(key) == 1 else list(key)],
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return AESGCM(subkey).decrypt(body[:12], body[12:], aad.encode()).decode()


def seal_legacy(plaintext: str, key: bytes = LEGACY_KEY) -> str:
    """As the application seals: base64 of iv16, tag16 and ciphertext."""
    iv = bytes(16)
    sealed = AESGCM(key).encrypt(iv, plaintext.encode(), None)
    return base64.b64encode(iv + sealed[-16:] + sealed[:-16]).decode()


def open_legacy(text: str, key: bytes = LEGACY_KEY) -> str | None:
    """What the application sealed, or None."""
    try:
        data = base64.b64decode(text.removeprefix("encrypted:"), validate=True)
        return AESGCM(key).decrypt(data[:16], data[32:] + data[16:32], None).decode()
    except (ValueError, InvalidTag):
        return None


def meant(text: str | None) -> str | None:
    """The plaintext of a value of the sample before its migration."""
    return text and (open_legacy(text) or text)


def told(error: BaseException) -> str:
    """Everything an error may show somebody: its chain with tracebacks, and its fields."""
    shown = ["".join(traceback.format_exception(error)), repr(error), str(error), repr(error.__dict__)]
    if attrs.has(type(error)):
        shown += [repr(value) for value in attrs.asdict(error).values()]  # type: ignore[arg-type]
    link = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(shown) + (told(link) if link is not None else "")


def allowing(rows: int) -> RunOptions:
    """Options that let so many rows be refused."""
    return RunOptions(max_quarantine=rows)
