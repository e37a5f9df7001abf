"""Logical names (`users.tfn`) for an installation's tables and columns."""

from taaxdog_datamig.profile.fit import FittedProfile, FittedTable
from taaxdog_datamig.profile.model import ColumnSpec, Profile, TableSpec

__all__ = ["ColumnSpec", "FittedProfile", "FittedTable", "Profile", "TableSpec"]
