"""The pepper: a secret that is kept where the database is not.

Without one, whoever holds the database and a list of MD5 digests leaked elsewhere tries the list against
`bcrypt(md5)` and needs no password guessed ("shucking"). With one, the inner value cannot be made without
the secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn

from taaxdog_datamig.errors import KeyFormatError, KeyWrong

if TYPE_CHECKING:
    from collections.abc import Mapping

PEPPER_ID: Final = r"[A-Za-z0-9_-]{1,32}"
#: The least length of a secret, bytes.
_LEAST_BYTES: Final = 32


class Pepper:
    """Secrets by id. The first wraps, all of them verify; its `repr` shows ids only.

    A value wrapped under a secret needs it until its user has signed in: the digest inside is gone, so
    that a new secret cannot be put in the old one's place. To rotate, add the new one in front, and drop
    the old one when no stored value names it.

    It cannot be pickled: a worker process makes its own from its own settings.

    Raises:
        KeyFormatError: there is no secret; an id has other characters than letters, digits, `_` and `-`,
            or more than 32; or a secret has fewer than 32 bytes.
    """

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        if not secrets:
            raise KeyFormatError("a pepper needs at least one secret", "Give one by its id")
        for name, secret in secrets.items():
            if re.fullmatch(PEPPER_ID, name) is None:
                raise KeyFormatError(
                    "the id of a pepper does not fit", "Use 1 to 32 letters, digits, `_` and `-`"
                )
            if len(secret) < _LEAST_BYTES:
                raise KeyFormatError(
                    f"pepper {name} has {len(secret)} bytes", f"It must have {_LEAST_BYTES} or more, random"
                )
        self._secrets = dict(secrets)
        #: Ids of all secrets, the one that wraps first.
        self.ids = tuple(self._secrets)

    @property
    def primary(self) -> str:
        """The id of the secret that wraps."""
        return self.ids[0]

    def secret(self, name: str) -> bytes:
        """Return the secret of an id.

        Raises:
            KeyWrong: there is none.
        """
        if name not in self._secrets:
            raise KeyWrong(
                f"pepper {name} is not configured; there are {', '.join(self.ids)}",
                "Add it: passwords wrapped under it cannot be verified without",
            )
        return self._secrets[name]

    def __repr__(self) -> str:
        return f"Pepper(ids={self.ids!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a pepper is not pickled: every process reads it from its own settings")
