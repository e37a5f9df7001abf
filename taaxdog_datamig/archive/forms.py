"""What is in a part before it is sealed: rows as JSON Lines, or as Parquet (needs pyarrow).

Everywhere else a row is a line, `{"table":...,"row":{column: text or null}}`. A Parquet part holds rows of
one table: every column is a nullable string, and the table's name is in the schema's metadata.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import orjson

from taaxdog_datamig.errors import ArchiveError, PreflightFailed

#: Format to the ending of its parts.
FORMATS: Final[Mapping[str, str]] = {"jsonl": ".jsonl.zst", "parquet": ".parquet"}
#: Name of the metadata entry with the table.
_TABLE: Final = b"datamig.table"
_MISSING = "pyarrow is not installed, which reads and writes Parquet"
_INSTALL = "pip install 'taaxdog-datamig[parquet]'"


@attrs.frozen(kw_only=True)
class Piece:
    """What one part holds."""

    payload: bytes = attrs.field(repr=False)
    rows: Mapping[str, int]


def form_of(name: str) -> str:
    """The format of a part, by its name."""
    return "parquet" if FORMATS["parquet"] in name else "jsonl"


def check_format(name: str) -> None:
    """Make sure that archives of that format can be written and read here.

    Raises:
        PreflightFailed: a package is missing.
    """
    if name == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401, PLC0415 - an extra, and slow to import
        except ImportError:
            raise PreflightFailed(_MISSING, f"{_INSTALL}, or set archive_format = 'jsonl'") from None


def encode(form: str, lines: bytes, rows: Mapping[str, int]) -> list[Piece]:
    """The parts that hold these rows.

    Args:
        form: "jsonl" or "parquet".
        lines: each ending with a line's end.
        rows: how many there are, by table.
    """
    if form == "jsonl":
        return [Piece(payload=lines, rows=rows)]
    tables: dict[str, list[dict[str, str | None]]] = {}
    for line in lines.split(b"\n")[:-1]:
        entry = orjson.loads(line)
        tables.setdefault(entry["table"], []).append(entry["row"])
    return [
        Piece(payload=_to_parquet(table, found), rows={table: len(found)}) for table, found in tables.items()
    ]


def decode(form: str, payload: bytes) -> list[bytes]:
    """The lines of a part, without their ends.

    Raises:
        ArchiveError: it is not of that format, or a package is missing to read it.
    """
    if form == "jsonl":
        lines = payload.split(b"\n")
        if lines.pop():
            raise ArchiveError("a part does not end with a line's end")
        return lines
    table, rows = _from_parquet(payload)
    return [orjson.dumps({"table": table, "row": row}) for row in rows]


def count(lines: Sequence[bytes]) -> Counter[str]:
    """Rows by table.

    Raises:
        ArchiveError: a line is not a row.
    """
    return Counter(table for table, _ in parsed(lines))


def parsed(lines: Sequence[bytes]) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Table and row of each line.

    Raises:
        ArchiveError: a line is not a row. The message does not quote it.
    """
    for line in lines:
        try:
            entry = orjson.loads(line)
            table, row = entry["table"], entry["row"]
        except (ValueError, TypeError, KeyError):
            raise ArchiveError("a part holds a line that is not a row") from None
        if not isinstance(table, str) or not isinstance(row, dict):
            raise ArchiveError("a part holds a line that is not a row")
        yield table, row


def _to_parquet(table: str, rows: Sequence[dict[str, str | None]]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema = pa.schema([(name, pa.string()) for name in rows[0]], metadata={_TABLE: table.encode()})
    columns = [pa.array([row[name] for row in rows], pa.string()) for name in rows[0]]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), sink, compression="zstd")
    return sink.getvalue()


def _from_parquet(payload: bytes) -> tuple[str, list[dict[str, Any]]]:
    try:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise ArchiveError(_MISSING, _INSTALL) from None
    try:
        found = pq.ParquetFile(io.BytesIO(payload)).read(use_threads=False)
        return found.schema.metadata[_TABLE].decode(), found.to_pylist()
    except (pa.ArrowException, OSError, KeyError, TypeError):
        raise ArchiveError("a part is not Parquet as it is written here") from None
