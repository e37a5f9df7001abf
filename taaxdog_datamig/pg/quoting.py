"""The one place where a name becomes SQL. Values never do: they are bound as parameters."""

from __future__ import annotations


def ident(name: str) -> str:
    """Quote an identifier. Always quoted: `"order"`, `"taxFileNumber"` and `"a""b"` need no thought then."""
    if "\0" in name:
        raise ValueError("an identifier cannot hold NUL")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """Quote a schema-qualified name."""
    return f"{ident(schema)}.{ident(name)}"


def literal(text: str) -> str:
    """Quote a string constant, for DDL and stored predicates, which take no parameters."""
    if "\0" in text:
        raise ValueError("a string constant cannot hold NUL")
    escaped = text.replace("'", "''")
    return " E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in escaped else "'" + escaped + "'"
