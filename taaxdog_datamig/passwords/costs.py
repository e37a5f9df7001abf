"""What a hash costs to make, and therefore to guess."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import attrs

from taaxdog_datamig.errors import UsageError

#: What new hashes are made with.
Scheme: TypeAlias = Literal["bcrypt", "argon2id"]

#: bcrypt's own bounds of the cost factor.
_BCRYPT_LEAST: Final = 4
_BCRYPT_MOST: Final = 31
#: Argon2's least memory, KiB a lane (RFC 9106, section 3.1).
_ARGON2_LEAST_KIB: Final = 8


@attrs.frozen(kw_only=True)
class Cost:
    """The parameters of both schemes; the scheme that is asked for takes its own.

    Raises:
        UsageError: a number is outside of what the scheme allows.
    """

    #: bcrypt: log2 of the number of rounds, 4 to 31.
    bcrypt_log_rounds: int
    #: argon2id: memory, KiB; 8 or more a lane.
    argon2_memory: int
    #: argon2id: passes over the memory, 1 or more.
    argon2_passes: int
    #: argon2id: lanes, 1 or more. They are threads of the one hash: more hashes at once do as well.
    argon2_lanes: int

    def __attrs_post_init__(self) -> None:
        if not _BCRYPT_LEAST <= self.bcrypt_log_rounds <= _BCRYPT_MOST:
            raise UsageError("bcrypt's cost is out of bounds", "It is 4 to 31")
        if self.argon2_passes < 1 or self.argon2_lanes < 1:
            raise UsageError("argon2id's passes or lanes are out of bounds", "Each is 1 or more")
        if self.argon2_memory < _ARGON2_LEAST_KIB * self.argon2_lanes:
            raise UsageError("argon2id's memory is out of bounds", "It is 8 KiB or more a lane")


#: OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, 2 passes, 1 lane. For bcrypt it asks for 10 or
#: more; 12 takes about a quarter of a second on a server of today.
DEFAULT_COST: Final = Cost(bcrypt_log_rounds=12, argon2_memory=19_456, argon2_passes=2, argon2_lanes=1)

#: The least that the schemes allow. For tests, never for people.
CHEAPEST_COST: Final = Cost(bcrypt_log_rounds=4, argon2_memory=8, argon2_passes=1, argon2_lanes=1)
