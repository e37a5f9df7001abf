"""SQL over a stored value: which rows a migration of passwords has to look at.

`legacy` says what `recognise` says, without forms of the application's own. `doubtful` is wider: it holds
for every legacy and every unknown value, and for some that are neither, which `recognise` then tells apart.
"""

from __future__ import annotations

from typing import Final

_DIGEST: Final = "^(?:[0-9a-f]+|[0-9A-F]+)$"

#: Characters.
_BCRYPT: Final = 60
_ARGON2ID: Final = (
    r"\$argon2id\$v=19\$m=[1-9][0-9]{0,6},t=[1-9][0-9]{0,3},p=[1-9][0-9]{0,2}"
    r"\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)
_SALT: Final = "(?:,(?:sp|ps|sps),(?:[0-9a-f]{2})+)?"
_PEPPER: Final = "hmac-sha384,[A-Za-z0-9_-]{1,32}"
#: What stands before the outer hash of a wrapped value.
_HEAD: Final = (
    rf"\$datamig\$v1\$(?:(?:md5|sha1|sha224|sha256){_SALT}\$(?:hex|{_PEPPER})"
    rf"|(?:sha384|sha512){_SALT}\$(?:sha384|{_PEPPER}))"
)
#: Other values that need no second look. The rarer modern forms are left to `recognise`.
_SETTLED: Final = (
    rf"{_ARGON2ID}|pbkdf2_sha256\$[1-9][0-9]{{0,7}}\$[^$]+\$[A-Za-z0-9+/]{{43}}="
    r"|!(?:datamig\$v1\$[A-Za-z0-9_-]{32}|[A-Za-z0-9]{40})?"
)


def legacy(text: str) -> str:
    """True of a bare digest.

    Args:
        text: SQL of the value, of type text.
    """
    return f"(length({text}) IN (32, 40, 64, 128) AND {text} COLLATE \"C\" ~ '{_DIGEST}')"


def doubtful(text: str) -> str:
    """True unless the value is empty, a marker, wrapped, or of a common modern form.

    Args:
        text: SQL of the value, of type text.
    """
    outer = f"right({text}, {_BCRYPT})"
    settled = (
        f"CASE WHEN starts_with({text}, '$2')"
        f" THEN {_bcrypt(text, '[aby]')}"
        f" WHEN starts_with({text}, '$datamig$')"
        f" THEN CASE WHEN {_bcrypt(outer, 'b')}"
        f" THEN {_matches(f'left({text}, -{_BCRYPT})', _HEAD)}"
        f" ELSE {_matches(text, _HEAD + _ARGON2ID)} END"
        f" ELSE {_matches(text, _SETTLED)} END"
    )
    return f"({text} <> '' AND NOT {settled})"


def _bcrypt(text: str, letters: str) -> str:
    """True of a bcrypt hash.

    The server builds an automaton at each call: to count characters, or to choose between costs, in the
    pattern takes ten times as long as the rest of it.
    """
    pattern = rf"^\$2{letters}\$[0-3][0-9]\$[./A-Za-z0-9]*$"
    return (
        f"(length({text}) = {_BCRYPT} AND {text} COLLATE \"C\" ~ '{pattern}'"
        f" AND substr({text}, 5, 2) COLLATE \"C\" BETWEEN '04' AND '31')"
    )


def _matches(text: str, pattern: str) -> str:
    return f"{text} COLLATE \"C\" ~ '^(?:{pattern})$'"
