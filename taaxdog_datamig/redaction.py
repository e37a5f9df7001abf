"""Logs without sensitive values, whoever put them there (promise P5).

`redact` removes what *looks* sensitive. It leans to removing: a redacted count is a nuisance, a TFN in a
log is a breach. What therefore must be known to whoever writes a message:

- numbers of 8 digits or more go, also when written in groups; write counts with thousands separators
  (`f"{rows:,}"`) and ranges with two dots (`1024..2047`): these stay;
- `ddd-ddd` goes, as a BSB; numbers of 7 digits or fewer stay, and with them short account numbers, which
  nothing tells from a count;
- UUIDs, key ids, ISO dates and times, IP addresses and short decimals stay.

The second line is for what slips through; the first is that nobody hands sensitive values to a logger.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

import orjson

from taaxdog_datamig.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Passed through by name, tried first at every position.
_KEPT: Final = r"""
    (?P<kept>
        \b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b                     # UUID
      | \b(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])                    # ISO date and time
        (?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\d)
      | \b(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])T\d{4,6}(?!\d)        # the same, compact
      | \b\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?!\d)                                       # time of day
      | \b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d) # IPv4 address
      | \b(?:0\.\d+|[1-9]\d{0,5}\.\d{1,6})(?!\.?\d)                                  # decimal
      | \b\d{1,3}(?:,\d{3})+(?![\d,])                                                # 1,234,567
      | \bk[0-9a-f]{8}\b                                                             # key id
      | ://[A-Za-z0-9._-]{1,64}@                                                     # user in a URL
    )
"""

#: What may stand between two digits of one number. Two dots may not, nor a line end.
_JOINT: Final = (
    r"(?:[^\S\r\n]?[-\u2010-\u2015]?[^\S\r\n]?|\.|[^\S\r\n]?\(|\)[^\S\r\n]?"
    # ... and the same spaces and dashes as `repr` and JSON spell them.
    r"|\\(?:xa0|u00a0|u20[0-9a-f]{2}))"
)

_REMOVED: Final = rf"""
    (?P<dsn>(?i:\b[a-z][a-z0-9+.-]{{0,30}}://[^\s:/@]{{0,256}}:))\S{{0,1024}}@       # URL with a password
  | (?P<assigned>(?i:password|passwd|pwd|passphrase|secret|api_?key|token|FIELD_ENCRYPTION_[A-Z_]+)
        ["']?\s*(?:=|:(?=\s*["']))\s*)
    (?:\[secret\]|'[^']*'|"[^"]*"|[^\s,;&)}}\]]+)
  | (?P<detail>\bFailing\ row\ contains\ )\(.*                                       # PostgreSQL's DETAIL
  | (?P<key>\bKey\ \([^)\n]{{1,256}}\)=)\([^\n]*?\)(?=\s|$)
  | (?P<token>encrypted:[^\s'"]+)                                                    # field token
  | (?P<hash>(?:\$(?:2[abxy]?|argon2[a-z]*|scrypt|pbkdf2[\w-]*|datamig)
      |\b(?:pbkdf2_sha\d+|bcrypt(?:_sha256)?|argon2|scrypt))\$[^\s'"]+)               # password hash
  | (?P<email>[\w.+%-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}})+)
  | (?P<secret>[0-9a-fA-F]{{32,}}                                                    # key or digest in hex
      | (?<![A-Za-z0-9_])[A-Z2-7]{{16,}}={{0,6}}(?![A-Za-z0-9_]))                    # base32, as of TOTP
  | (?<![\d-])(?P<bsb>\d{{3}}-\d{{3}})(?![\d-])
  | (?P<number>\+?\d(?:{_JOINT}\d){{7,}})                                         # TFN, ABN, phone, card
"""

_PATTERN: Final = re.compile(f"{_KEPT}|{_REMOVED}", re.VERBOSE)

#: Base64 in either alphabet. Paths look much like it, so `_opaque` looks closer.
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
_RANDOM_LENGTH: Final = 20


def redact(text: str) -> str:
    """Return the text with everything that looks sensitive replaced by what it was: `[number]`, ...

    Redacting twice changes nothing more.
    """
    return _PATTERN.sub(_replacement, _BASE64.sub(_opaque, text))


def _replacement(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    if kind == "kept":
        return match[0]
    if kind == "dsn":
        return f"{match[kind]}[secret]@"
    if kind == "assigned":
        return f"{match[kind]}[secret]"
    if kind in {"detail", "key"}:
        return f"{match[kind]}([row])"
    return f"[{kind}]"


def _opaque(match: re.Match[str]) -> str:
    """Replace base64 of random bytes; leave paths and long names to the other patterns."""
    text = match[0]
    parts = [text] if "+" in text or text.endswith("=") else text.split("/")
    return "[secret]" if any(_looks_random(part) for part in parts) else text


def _looks_random(text: str) -> bool:
    return (
        len(text) >= _RANDOM_LENGTH
        and any(map(str.isupper, text))
        and any(map(str.islower, text))
        and any(map(str.isdigit, text))
    )


#: Attributes that every record has: no caller's values, or handled by name.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: How deep containers handed over as extra fields are looked through; deeper ones become text.
_DEPTH: Final = 6
#: The smallest number of eight digits.
_SHORTEST_NUMBER: Final = 10_000_000


class Count(int):
    """A number in an extra field that its writer knows to be a count or a size, however large."""


class Measure(float):
    """A number in an extra field that its writer knows to be measured, however many digits it has."""


class RedactingFilter(logging.Filter):
    """Rewrites each record before any formatter sees it. Put it on handlers: `install`.

    Message and arguments become one redacted text, exceptions and stacks redacted text without the live
    objects (a formatter that shows local variables finds none), extra fields redacted values.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact in place; always lets the record pass."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 -- the caller's arguments do not fit: still no reason to lose the line
            message = f"{_text(record.msg)} {_text(record.args)}"
        record.msg, record.args = redact(message), None
        if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        for name, value in _extra(record).items():
            setattr(record, name, _redacted(value, _DEPTH))
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts` (UTC), `level`, `logger`, `message`, the extra fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON. It does not redact: that is the filter's work."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in _extra(record).items():
            line.setdefault(name, value)
        if record.exc_text or record.exc_info:
            line["exception"] = record.exc_text or self.formatException(record.exc_info or (None, None, None))
        if record.stack_info:
            line["stack"] = record.stack_info
        try:
            return orjson.dumps(line, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # a lone surrogate, or containers that hold themselves
            return orjson.dumps({name: ascii(value) for name, value in line.items()}).decode()


def install(handler: logging.Handler) -> logging.Handler:
    """Put the filter on a handler, once; returns the handler."""
    if not any(isinstance(present, RedactingFilter) for present in handler.filters):
        handler.addFilter(RedactingFilter())
    return handler


def configure_logging(
    level: str, log_format: Literal["text", "json"] = "text", stream: TextIO | None = None
) -> logging.Handler:
    """Send the log of the whole process to a stream, redacted. Calling it again replaces the handler.

    Args:
        level: debug, info, warning, error or critical, in any case.
        log_format: lines for people, or JSON objects.
        stream: standard error by default.

    Raises:
        SettingsError: the level has another name.
    """
    levels = {"debug", "info", "warning", "error", "critical"}
    if level.strip().lower() not in levels:
        raise SettingsError("LOG_LEVEL is no level", "It is one of debug, info, warning, error and critical")
    handler = _OwnHandler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    for earlier in [present for present in root.handlers if isinstance(present, _OwnHandler)]:
        root.removeHandler(earlier)
    root.addHandler(install(handler))
    root.setLevel(level.strip().upper())
    return handler


class _OwnHandler(logging.StreamHandler[TextIO]):
    """The handler that `configure_logging` put up, to tell it from the application's."""


def _extra(record: logging.LogRecord) -> Mapping[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _redacted(value: object, depth: int) -> object:
    """Redact a value of an extra field; what is untouched keeps its type, so that JSON keeps numbers."""
    if value is None or isinstance(value, bool | Count | Measure):
        return value
    if isinstance(value, dict) and depth:
        return {redact(str(name)): _redacted(item, depth - 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_redacted(item, depth - 1) for item in value]
    if isinstance(value, int):  # without `str`, which refuses very long ones
        return value if abs(value) < _SHORTEST_NUMBER else "[number]"
    text = _text(value)
    clean = redact(text)
    return value if isinstance(value, float) and clean == text else clean


def _plain(value: object) -> object:
    return float(value) if isinstance(value, float) else str(value)  # orjson knows `float` alone


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 -- a caller's object that cannot be shown must not break the caller
        return f"<{type(value).__name__}>"
