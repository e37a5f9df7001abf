"""Soda Core's side of bench_validate.py. Needs soda-core-postgres. As great_expectations_rival.py."""

from __future__ import annotations

import json
import sys
import time
from urllib.parse import parse_qs, unquote, urlsplit

from soda.scan import Scan

given = json.load(sys.stdin)
url = urlsplit(given["dsn"])
scan = Scan()
scan.set_data_source_name("pg")
scan.set_scan_definition_name("bench")
scan.add_configuration_yaml_str(f"""
data_source pg:
  type: postgres
  host: {url.hostname or parse_qs(url.query)["host"][0]}
  port: "{url.port or 5432}"
  username: {url.username}
  password: "{unquote(url.password or "")}"
  database: {url.path.lstrip("/")}
  schema: public
""")
lines = []
for table in dict.fromkeys(check["table"] for check in given["checks"]):
    lines.append(f"checks for {table}:")
    for check in given["checks"]:
        if check["table"] == table:
            lines += ["  - failed rows:", f'      name: "{check["id"]}"', "      fail condition: |"]
            lines += [f"        {line}" for line in check["where"].splitlines()]
scan.add_sodacl_yaml_str("\n".join(lines))
began = time.monotonic()
scan.execute()
seconds = time.monotonic() - began
found = scan.get_scan_results()
if errors := [log["message"] for log in found["logs"] if log["level"] == "error"]:
    raise SystemExit(errors[0])
counts = {check["name"]: check["diagnostics"].get("value") for check in found["checks"]}
print(json.dumps({"seconds": seconds, "counts": counts}))
