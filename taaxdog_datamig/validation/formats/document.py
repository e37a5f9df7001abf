"""A report as JSON, and back: what a baseline and a trend are read from. See docs/reference/json.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
import orjson

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.validation.report import ValidationReport

SCHEMA = "datamig/validation/1"

_HOW_TO_MAKE_ONE = "`datamig validate --output report.json` writes one"


def document(report: ValidationReport) -> dict[str, Any]:
    """The report as plain values."""
    return {"schema": SCHEMA, **attrs.asdict(report)}


def dumped(value: Mapping[str, Any]) -> str:
    """Plain values as JSON text, indented, with a line end."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def loaded(text: bytes | str, name: str) -> ValidationReport:
    """The report that was written as JSON. Fields that it has beyond ours are left out.

    Args:
        text: the document.
        name: what it is called in errors.

    Raises:
        UsageError: it is no report of a validation, or one of another version.
    """
    try:
        value = orjson.loads(text)
    except ValueError:
        raise UsageError(f"{name} is not JSON", _HOW_TO_MAKE_ONE) from None
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.rpartition("/")[0] == SCHEMA.rpartition("/")[0]:
            raise UsageError(
                f"{name} is of another version, {schema}; this one reads {SCHEMA}",
                f"Validate again with this version: {_HOW_TO_MAKE_ONE}",
            )
        raise UsageError(f"{name} is no report of a validation", _HOW_TO_MAKE_ONE)
    try:
        report: ValidationReport = _read(ValidationReport, value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is damaged: {error}", _HOW_TO_MAKE_ONE) from None
    return report


def _read(kind: Any, value: Any) -> Any:
    """A value of JSON as an annotation has it.

    Raises:
        TypeError, ValueError: it is none. The message names types and fields, never the value.
    """
    if attrs.has(kind):
        return _object(kind, value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        (some,) = [each for each in arguments if each is not type(None)]
        return None if value is None else _read(some, value)
    if origin is tuple:
        return tuple(_read(arguments[0], item) for item in _exact(list, value))
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"it must be one of {', '.join(arguments)}")
        return value
    if kind is datetime:
        moment = datetime.fromisoformat(_exact(str, value))
        if moment.tzinfo is None:
            raise ValueError("a time has no zone")
        return moment
    if kind is float and type(value) is int:
        return float(value)
    return _exact(kind, value)


def _object(kind: Any, value: Any) -> Any:
    hints, fields = get_type_hints(kind), {}
    for field in attrs.fields(kind):
        if field.name in _exact(dict, value):
            try:
                fields[field.name] = _read(hints[field.name], value[field.name])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{field.name}: {error}") from None
        elif field.default is attrs.NOTHING:
            raise ValueError(f"{field.name} is missing")
    return kind(**fields)


def _exact(kind: Any, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"it must be {kind.__name__}, not {type(value).__name__}")
    return value
