"""How a table differs from what it was when its rows were kept elsewhere: in an archive, or in a backup."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Drift:
    """How one column differs."""

    table: str
    column: str
    #: SQL types; None where there was, or is, no such column.
    was: str | None
    now: str | None
    #: What a restore does about it.
    effect: str
