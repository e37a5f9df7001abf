"""Logical names (`users.tfn`) for an installation's tables and columns."""

from taaxdog_datamig.profile.binding import bind, over, placeholders, verbatim
from taaxdog_datamig.profile.fit import FittedProfile, FittedTable
from taaxdog_datamig.profile.model import ColumnSpec, Profile, ReferenceSpec, TableSpec
from taaxdog_datamig.profile.paths import paths_from, scope_of
from taaxdog_datamig.profile.references import all_references, column_of, references_of, references_to

__all__ = [
    "ColumnSpec",
    "FittedProfile",
    "FittedTable",
    "Profile",
    "ReferenceSpec",
    "TableSpec",
    "all_references",
    "bind",
    "column_of",
    "over",
    "paths_from",
    "placeholders",
    "references_of",
    "references_to",
    "scope_of",
    "verbatim",
]
