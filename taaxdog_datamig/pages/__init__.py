"""Pages of HTML that stand alone: frame, tables, charts. Pure: text in, text out."""

from __future__ import annotations

from taaxdog_datamig.pages.charts import Bar, Series, bars, lines, spark
from taaxdog_datamig.pages.frame import Tone, figure, framed, section, table
from taaxdog_datamig.pages.words import escaped, legal

__all__ = [
    "Bar",
    "Series",
    "Tone",
    "bars",
    "escaped",
    "figure",
    "framed",
    "legal",
    "lines",
    "section",
    "spark",
    "table",
]
