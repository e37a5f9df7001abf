"""JSON documents with a checksum over themselves: manifests of archives and backups.

The last field, `checksum`, is taken over the document with that field's 64 digits as zeros: HMAC-SHA256 under
a subkey of a master key, or plain SHA-256 where no key is configured, which shows damage and stops nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson

#: What stands for the checksum while it is taken, and what follows it in the document.
_ZEROS: Final = b"0" * 64
_TAIL: Final = b'"\n}\n'
_HEX: Final = re.compile(rb"[0-9a-f]{64}")

Sign: TypeAlias = Callable[[bytes], bytes]


def unkeyed(data: bytes) -> bytes:
    """The checksum of a document that no key signs: 32 bytes."""
    return hashlib.sha256(data).digest()


def encode(body: Mapping[str, Any], sign: Sign) -> bytes:
    """The document. `sign` makes the 32 bytes of its checksum."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    data = orjson.dumps({**body, "checksum": _ZEROS.decode()}, option=option)
    return data[: -len(_ZEROS + _TAIL)] + sign(data).hex().encode() + _TAIL


def is_signed(data: bytes, sign: Sign) -> bool:
    """Tell whether the document is as `sign` saw it."""
    found = data[-len(_ZEROS + _TAIL) : -len(_TAIL)]
    if not (data.endswith(_TAIL) and _HEX.fullmatch(found)):
        return False
    signed = data[: -len(_ZEROS + _TAIL)] + _ZEROS + _TAIL
    return hmac.compare_digest(found, sign(signed).hex().encode())
