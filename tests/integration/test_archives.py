"""What a purge took away can be looked at, verified and put back: whole, by table, twice, elsewhere."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import anyio
import asyncpg
import orjson
import pytest

from taaxdog_datamig import ArchiveManager, RunOptions, Settings
from taaxdog_datamig.archive import ArchiveWriter
from taaxdog_datamig.crypto import BlobSealer
from taaxdog_datamig.errors import PreflightFailed, RefusedError, SettingsError, UnknownName
from taaxdog_datamig.events import Waiting
from taaxdog_datamig.ledger import Ledger
from tests.sample import KEY, engine, has_ledger, rows, script, state
from tests.tidying import Tidy

TABLES = """
CREATE TABLE authors (id int PRIMARY KEY, name text NOT NULL, email varchar(20) UNIQUE, old boolean);
CREATE TABLE books (
    isbn text, edition smallint, author int NOT NULL REFERENCES authors ON DELETE CASCADE,
    price numeric(8,2), printed timestamptz, tags text[], extra jsonb, cover bytea,
    label text GENERATED ALWAYS AS (isbn || '!') STORED, PRIMARY KEY (isbn, edition));
CREATE TABLE notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, isbn text, edition smallint, "Answer To" bigint
    REFERENCES notes, body text, FOREIGN KEY (isbn, edition) REFERENCES books);
INSERT INTO authors SELECT i, 'author ' || i, 'a' || i || '@x', i % 2 = 0 FROM generate_series(1, 60) AS i;
INSERT INTO books SELECT 'book "' || i || '"' || chr(10) || '\\', i % 3, 1 + i % 60, i / 7.0,
    CASE i % 5 WHEN 0 THEN 'infinity' WHEN 1 THEN NULL ELSE '2026-01-01 10:00:00.123+11'::timestamptz END,
    ARRAY['a,b', NULL, '"'], '{"a": [1, null]}', '\\x00ff' FROM generate_series(1, 200) AS i;
INSERT INTO notes (isbn, edition, "Answer To", body)
    SELECT isbn, edition, NULL, '\N{SNOWMAN}' || isbn FROM books ORDER BY isbn, edition;
UPDATE notes SET "Answer To" = n.id FROM notes AS n WHERE n.isbn = notes.isbn AND n.id % 3 = 0;
"""
ARCHIVED = {"authors": 30, "books": 100, "notes": 100}


@pytest.fixture
async def library(database, keyed, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path / "archives"))
    await script(database, TABLES)
    return database


@pytest.fixture(params=["jsonl", "parquet"])
def form(request):
    return request.param


@pytest.fixture(params=["sealed", "open"])
def sealing(request, monkeypatch, keyed):
    if request.param == "open":
        monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    return request.param


async def tidied(dsn, **settings):
    """Run the purge; returns its report."""
    async with engine(dsn, Tidy, **settings) as runner:
        report = await runner.run("tidy", RunOptions(batch_size=1000))
    assert report.deleted_rows == ARCHIVED
    return report


async def restore(dsn, ref, *names, dry_run=False, **settings):
    async with engine(dsn, **settings) as runner:
        return await ArchiveManager(runner.db).restore(ref, names or None, dry_run=dry_run)


def by_table(report, what="inserted_rows"):
    return {table.table: getattr(table, what) for table in report.tables}


async def test_there_and_back(library, form, sealing):
    before = await state(library)
    report = await tidied(library, archive_format=form)
    assert any("not sealed" in warning for warning in report.warnings) == (sealing == "open")
    gone = await state(library)
    manager = ArchiveManager(settings=Settings.load())
    (record,) = await manager.list()
    assert (record.id, record.state, record.rows, record.format) == (report.archive_id, "complete", 230, form)
    assert (record.kid is not None) == (sealing == "sealed")
    details = await manager.show(record.id[:4])
    assert (details.verified, details.signed, details.problem) == ("rows", sealing == "sealed", "")
    assert {table.table: table.rows for table in details.tables} == ARCHIVED
    books = next(table for table in details.tables if table.table == "books")
    assert (books.relation, books.key) == ('"public"."books"', ("isbn", "edition"))
    assert books.columns["printed"] == "timestamp with time zone"
    assert "label" not in books.columns
    dry = await restore(library, record.id, dry_run=True)
    assert await state(library) == gone, "a dry run leaves nothing behind"
    real = await restore(library, record.id[:8])
    for done in (dry, real):
        assert by_table(done) == ARCHIVED
        assert (done.present_rows, done.refused_rows, done.drift) == (0, 0, ())
    assert await state(library) == before
    again = await restore(library, record.id)
    assert by_table(again, "present_rows") == ARCHIVED
    assert again.inserted_rows == 0
    assert await state(library) == before


async def test_nothing_of_a_row_is_readable_in_a_sealed_archive(library, tmp_path, form):
    await tidied(library, archive_format=form)
    for path in (tmp_path / "archives").rglob("*"):
        if path.is_file():
            assert b"author" not in path.read_bytes().replace(b'"author": "integer"', b"").replace(
                b"authors", b""
            )


async def test_a_database_that_never_saw_the_run_takes_the_rows(library):
    before = await state(library)
    report = await tidied(library)
    await script(library, "DROP SCHEMA datamig CASCADE")
    done = await restore(library, report.archive_id)
    assert by_table(done) == ARCHIVED
    assert await state(library) == before
    async with engine(library) as runner, runner.db.acquire() as connection:
        assert await Ledger.of().audit.verify(connection) is None
        events = [row[0] for row in await connection.fetch("SELECT event FROM datamig.audit ORDER BY seq")]
    assert events[0] == "archive-restore-started"
    assert events[-1] == "archive-restored"
    assert "archive-chunk-restored" in events


async def test_a_dry_run_makes_no_ledger(library):
    report = await tidied(library)
    await script(library, "DROP SCHEMA datamig CASCADE")
    await restore(library, report.archive_id, dry_run=True)
    assert not await has_ledger(library)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_one_table_alone_and_then_the_rest(library, dry_run):
    before = await state(library)
    report = await tidied(library)
    lonely = await restore(library, report.archive_id, "books", dry_run=dry_run)
    assert (lonely.inserted_rows, lonely.refused_rows) == (0, 100)
    assert {row.code for row in lonely.refused} == {"refused-23503"}
    assert "books_author_fkey" in lonely.refused[0].reason
    assert len({row.key for row in lonely.refused}) == 100
    authors = await restore(library, report.archive_id, "authors", dry_run=dry_run)
    assert by_table(authors) == {"authors": 30}
    if not dry_run:
        rest = await restore(library, report.archive_id)
        assert by_table(rest) == ARCHIVED | {"authors": 0}
        assert await state(library) == before
    with pytest.raises(UnknownName, match=r"no table 'nobody'.*authors, books, notes"):
        await restore(library, report.archive_id, "nobody")


async def test_rows_that_are_in_the_way_stay_and_are_named(library):
    report = await tidied(library)
    await script(
        library,
        "INSERT INTO authors VALUES (2, 'somebody else', 'new@x'), (100, 'has the address', 'a4@x')",
    )
    done = await restore(library, report.archive_id)
    assert by_table(done, "present_rows") == {"authors": 1, "books": 0, "notes": 0}
    assert by_table(done)["authors"] == 28
    [refused] = [row for row in done.refused if row.table == "authors"]
    assert (refused.key, refused.code) == (("4",), "refused-23505")
    assert "authors_email_key" in refused.reason
    assert "a4@x" not in refused.reason
    # The books of author 4 have nobody to refer to; their notes are named, too.
    assert by_table(done, "refused_rows") == {"authors": 1, "books": 4, "notes": 4}
    assert (await rows(library, "SELECT name FROM authors WHERE id = 2"))[0][0] == "somebody else"
    for table in done.tables:
        assert table.inserted_rows + table.present_rows + table.refused_rows == table.archived_rows


async def test_a_run_that_was_rolled_back_leaves_nothing_to_restore(library):
    before = await state(library)
    report = await tidied(library)
    async with engine(library, Tidy) as runner:
        await runner.rollback(report.run_id)
    assert await state(library) == before
    assert (await restore(library, report.archive_id)).present_rows == 230


async def test_rows_in_partitions_go_back_through_the_table(database, keyed, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path))
    await script(
        database,
        "CREATE TABLE authors (id int PRIMARY KEY, old boolean) PARTITION BY RANGE (id);"
        "CREATE TABLE low PARTITION OF authors FOR VALUES FROM (0) TO (50);"
        "CREATE TABLE high PARTITION OF authors FOR VALUES FROM (50) TO (100);"
        "INSERT INTO authors SELECT i, i % 2 = 0 FROM generate_series(0, 99) AS i",
    )
    before = await state(database)
    async with engine(database, Tidy) as runner:
        report = await runner.run("tidy")
    # Elsewhere the table may be partitioned otherwise.
    await script(
        database,
        "ALTER TABLE authors DETACH PARTITION high; CREATE TABLE higher PARTITION OF authors DEFAULT;"
        "INSERT INTO authors SELECT * FROM high; DROP TABLE high",
    )
    done = await restore(database, report.archive_id)
    assert (done.inserted_rows, done.refused_rows) == (50, 0)
    assert (await state(database))["authors"] == before["authors"]


# -- what has changed since


async def test_harmless_drift_is_told(library):
    report = await tidied(library)
    await script(
        library,
        "ALTER TABLE authors ADD seen timestamptz, ADD kind text NOT NULL DEFAULT 'person';"
        "ALTER TABLE books ALTER edition TYPE int, ALTER price TYPE numeric;"
        "ALTER TABLE notes DROP COLUMN body, ADD COLUMN body text GENERATED ALWAYS AS (isbn) STORED;",
    )
    done = await restore(library, report.archive_id)
    assert by_table(done) == ARCHIVED
    told = {(drift.table, drift.column): (drift.was, drift.now) for drift in done.drift}
    assert told == {
        ("authors", "seen"): (None, "timestamp with time zone"),
        ("authors", "kind"): (None, "text"),
        ("books", "edition"): ("smallint", "integer"),
        ("books", "price"): ("numeric(8,2)", "numeric"),
        ("notes", "body"): ("text", "text"),
    }
    assert all(drift.effect for drift in done.drift)


async def test_a_value_that_another_type_would_change_is_refused_and_not_bent(library):
    report = await tidied(library)
    await script(library, "ALTER TABLE books ALTER printed TYPE date, ALTER price TYPE int")
    done = await restore(library, report.archive_id)
    refused = [row for row in done.refused if row.table == "books"]
    assert {row.code for row in refused} <= {"refused-retyped", "refused-22P02"}
    stored = await rows(
        library, "SELECT count(*) FROM books WHERE printed > '2026-01-01' AND printed <> 'infinity'"
    )
    assert by_table(done)["books"] + len(refused) == 100
    assert len(refused) >= 60
    assert stored[0][0] >= 0


async def test_a_column_that_is_gone_is_refused_only_where_rows_hold_it(library):
    await script(library, "UPDATE books SET printed = NULL")
    report = await tidied(library)
    gone = await state(library)
    await script(library, "ALTER TABLE books DROP COLUMN printed")
    empty = await restore(library, report.archive_id, dry_run=True)
    assert by_table(empty) == ARCHIVED
    assert [(drift.column, drift.now) for drift in empty.drift] == [("printed", None)]
    await script(
        library,
        "ALTER TABLE books DROP COLUMN tags, ADD needed int; UPDATE books SET needed = 1;"
        "ALTER TABLE books ALTER needed SET NOT NULL; DROP TABLE notes",
    )
    gone = await state(library)
    with pytest.raises(PreflightFailed) as caught:
        await restore(library, report.archive_id)
    for word in (
        "column tags of public.books is gone",
        "column needed of public.books is new",
        '"public"."notes"',
    ):
        assert word in caught.value.what
    assert "printed" not in caught.value.what
    assert await state(library) == gone
    assert by_table(await restore(library, report.archive_id, "authors")) == {"authors": 30}


# -- references that go round, in archives made by hand


def written(folder, tables, *chunks):
    """An archive of these chunks, each a list of (table, row)."""
    archive = uuid.uuid4()
    writer = ArchiveWriter(folder=folder, run_id=archive, sealer=BlobSealer(None))
    parts = []
    for chunk in chunks:
        lines = [orjson.dumps({"table": table, "row": row}) + b"\n" for table, row in chunk]
        counts = {table: sum(name == table for name, _ in chunk) for table, _ in chunk}
        parts += writer.write(uuid.uuid4(), lines, counts, tables)
    about = {"migration": "by-hand", "version": "1", "database": "elsewhere"}
    writer.finish(parts, created_at=datetime.now(UTC), kid=None, data_key=None, **about)
    return str(archive)


def described(name, /, **columns):
    return {
        "relation": f'"public"."{name}"',
        "key": ["id"],
        "loose": [],
        "columns": {"id": "integer", **columns},
    }


async def test_references_in_any_order_and_round_in_circles(library, tmp_path):
    await script(
        library,
        "CREATE TABLE egg (id int PRIMARY KEY, hen int NOT NULL);"
        "CREATE TABLE hen (id int PRIMARY KEY, egg int NOT NULL REFERENCES egg, mother int REFERENCES hen);"
        "ALTER TABLE egg ADD FOREIGN KEY (hen) REFERENCES hen",
    )
    tables = {
        "egg": described("egg", hen="integer"),
        "hen": described("hen", egg="integer", mother="integer"),
    }
    hens = [
        ("hen", {"id": str(i), "egg": str(i), "mother": str(i - 1) if i > 1 else None}) for i in range(1, 6)
    ]
    eggs = [("egg", {"id": str(i), "hen": str(i)}) for i in range(1, 6)]
    # Mothers in later parts than their daughters, and one egg of a hen that is in no part.
    chunks = [[hens[i], eggs[i]] for i in range(5)]
    archive = written(tmp_path / "archives", tables, *chunks, [("egg", {"id": "9", "hen": "77"})])
    done = await restore(library, archive)
    assert by_table(done) == {"egg": 5, "hen": 5}
    assert [(row.table, row.key, row.code) for row in done.refused] == [("egg", ("9",), "refused-23503")]
    assert any("elsewhere" in warning for warning in done.warnings)


async def test_a_foreign_key_that_is_not_valid_lets_its_orphans_back_in(library, tmp_path):
    """As a rollback does: they were there before, and no other key is bent for them."""
    await script(
        library,
        "CREATE TABLE child (id int PRIMARY KEY, author int, book int);"
        "ALTER TABLE child ADD CONSTRAINT lax FOREIGN KEY (author) REFERENCES authors NOT VALID;"
        "ALTER TABLE child ADD CONSTRAINT strict FOREIGN KEY (book) REFERENCES authors",
    )
    tables = {"child": described("child", author="integer", book="integer")}
    chunk = [
        ("child", {"id": "1", "author": "900", "book": "1"}),
        ("child", {"id": "2", "author": "900", "book": "900"}),
    ]
    done = await restore(library, written(tmp_path / "archives", tables, chunk))
    assert by_table(done) == {"child": 1}
    assert [(row.key, row.code) for row in done.refused] == [(("2",), "refused-23503")]


async def test_a_row_archived_twice_comes_back_as_it_was_last(library, tmp_path):
    tables = {"authors": described("authors", name="text", email="text", old="boolean")}
    row = {"id": "900", "email": None, "old": None}
    archive = written(
        tmp_path / "archives",
        tables,
        [("authors", row | {"name": "first"})],
        [("authors", row | {"name": "second"})],
    )
    done = await restore(library, archive)
    assert (done.inserted_rows, done.present_rows) == (1, 1)
    assert (await rows(library, "SELECT name FROM authors WHERE id = 900"))[0][0] == "second"


async def test_an_uncommitted_row_with_the_same_key_is_waited_for(library):
    """Whether it is committed decides whether ours is there already."""
    report = await tidied(library)
    application = await asyncpg.connect(library)
    transaction = application.transaction()
    await transaction.start()
    await application.execute("INSERT INTO authors VALUES (2, 'uncommitted', NULL)")
    waits, answers = anyio.Event(), []
    async with engine(library) as runner, anyio.create_task_group() as group:
        manager = ArchiveManager(runner.db)
        manager.events.subscribe(lambda event: waits.set() if isinstance(event, Waiting) else None)

        async def work():
            answers.append(await manager.restore(report.archive_id))

        group.start_soon(work)
        with anyio.fail_after(20):
            await waits.wait()
        await transaction.rollback()
    await application.close()
    assert by_table(answers[0]) == ARCHIVED


# -- what is refused


async def test_an_archive_of_a_run_that_has_not_ended(library, monkeypatch):
    report = await tidied(library)
    await script(library, "UPDATE datamig.runs SET status = 'paused'")
    with pytest.raises(RefusedError, match=f"run {report.run_id}.*has not ended.*resume"):
        await restore(library, report.archive_id)


async def test_words_that_name_no_archive(library, tmp_path):
    manager = ArchiveManager(settings=Settings.load())
    assert await manager.list() == []
    with pytest.raises(UnknownName, match="no archive 'abcd'"):
        await manager.show("abcd")
    with pytest.raises(SettingsError, match="no database"):
        await manager.restore("abcd")
    (tmp_path / "archives").mkdir()
    for name in ("notes.txt", "0000aaaa-0000-4000-8000-000000000000", "0000aaaa-1111-4000-8000-000000000000"):
        (tmp_path / "archives" / name).mkdir()
    assert [record.state for record in await manager.list()] == ["incomplete", "incomplete"]
    with pytest.raises(UnknownName, match="several archives begin with '0000'"):
        await manager.show("0000")
    assert (await manager.show("0000aaaa-0")).verified == "nothing"
    with pytest.raises(RefusedError, match="incomplete"):
        await restore(library, "0000aaaa-0")
    assert KEY not in str(await manager.list())
