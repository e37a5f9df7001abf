"""Great Expectations' side of bench_validate.py. Needs great_expectations and psycopg2-binary.

Reads {"dsn", "checks": [{"id", "table", "where"}]} from stdin; prints {"seconds", "counts"}. Setting up is
not timed.
"""

from __future__ import annotations

import json
import re
import sys
import time

import great_expectations as gx
from great_expectations.expectations import UnexpectedRowsExpectation

given = json.load(sys.stdin)
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
# It wants a host in the URL; the socket's folder in the query wins over it.
url = given["dsn"].replace("postgresql://", "postgresql+psycopg2://", 1).replace("@/", "@localhost/")
source = context.data_sources.add_postgres("pg", connection_string=url.replace("$", r"\$"))
work = []
for table in dict.fromkeys(check["table"] for check in given["checks"]):
    suite = gx.ExpectationSuite(name=table)
    for check in given["checks"]:
        if check["table"] == table:
            # It formats the query, and SQLAlchemy takes a colon before a name for a parameter.
            where = re.sub(
                r"(?<!:):(?=[A-Za-z])", r"\\:", check["where"].replace("{", "{{").replace("}", "}}")
            )
            query = f"SELECT * FROM {{batch}} WHERE {where}"
            suite.add_expectation(
                UnexpectedRowsExpectation(unexpected_rows_query=query, description=check["id"])
            )
    asset = source.add_table_asset(name=table, table_name=table)
    work.append((asset.add_batch_definition_whole_table("all").get_batch(), suite))
began = time.monotonic()
counts = {}
for batch, suite in work:
    for result in batch.validate(suite).results:
        name = result.expectation_config.to_json_dict()["description"]
        if "'raised_exception': True" in str(result.exception_info):
            raise SystemExit(f"{name}: {str(result.exception_info)[-2000:]}")
        counts[name] = result.result.get("observed_value")
print(json.dumps({"seconds": time.monotonic() - began, "counts": counts}))
