"""Validation: what is wrong in a database, where, how bad it is, and what mends it."""

from taaxdog_datamig.validation.checks import RULES
from taaxdog_datamig.validation.formats import FORMATS, Format, loaded, render
from taaxdog_datamig.validation.model import (
    CATEGORIES,
    SEVERITIES,
    Category,
    Check,
    ExaminedCheck,
    Findings,
    FunctionCheck,
    ReferenceCheck,
    RowCheck,
    Rule,
    Severity,
    UniqueCheck,
)
from taaxdog_datamig.validation.report import CheckResult, ScannedTable, ValidationReport
from taaxdog_datamig.validation.scene import Scene
from taaxdog_datamig.validation.validator import Validator

__all__ = [
    "CATEGORIES",
    "FORMATS",
    "RULES",
    "SEVERITIES",
    "Category",
    "Check",
    "CheckResult",
    "ExaminedCheck",
    "Findings",
    "Format",
    "FunctionCheck",
    "ReferenceCheck",
    "RowCheck",
    "Rule",
    "ScannedTable",
    "Scene",
    "Severity",
    "UniqueCheck",
    "ValidationReport",
    "Validator",
    "loaded",
    "render",
]
