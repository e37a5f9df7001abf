"""Authors with their books, and a cleanup that takes old authors, for tests that need rows to be deleted."""

from __future__ import annotations

from taaxdog_datamig import Purge, PurgeMigration


class Tidy(PurgeMigration):
    name = "tidy"
    version = "1.0.0"
    description = "Old authors go, with their books."

    async def purges(self, _):
        return [Purge("authors", "{old}")]


def library(authors: int) -> str:
    """Every other author is old; each has three books."""
    return f"""
CREATE TABLE authors (id int PRIMARY KEY, old bool NOT NULL);
CREATE TABLE books (id int PRIMARY KEY, author int NOT NULL REFERENCES authors);
CREATE INDEX ON books (author);
INSERT INTO authors SELECT n, n % 2 = 0 FROM generate_series(1, {authors}) AS n;
INSERT INTO books SELECT n, 1 + n % {authors} FROM generate_series(1, {3 * authors}) AS n;
"""
