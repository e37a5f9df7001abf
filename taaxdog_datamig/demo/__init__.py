"""The sample TAAXDOG database for the demo, tests and benchmarks.

`ddl/` holds the definition of its 34 tables, `rows/` the statements that make their rows inside the
server, `slots.py` which rows carry which fault, `sizes.py` how many rows there are.
"""

from taaxdog_datamig.demo.report import SampleReport, SensitiveCounts, fault_counts, sensitive_counts
from taaxdog_datamig.demo.sample import load_sample
from taaxdog_datamig.demo.schema import create_schema
from taaxdog_datamig.demo.slots import SAMPLE_PASSWORD

__all__ = [
    "SAMPLE_PASSWORD",
    "SampleReport",
    "SensitiveCounts",
    "create_schema",
    "fault_counts",
    "load_sample",
    "sensitive_counts",
]
