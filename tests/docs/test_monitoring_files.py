"""The dashboard and the alert rules ask for metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml

from taaxdog_datamig.monitoring import METRICS

FOLDER = Path(__file__).parents[2] / "docs/monitoring"
RULES = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
PARTS = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
#: The labels of each series, by name; what Prometheus itself adds is not ours to know.
LABELS = {
    metric.name + part: {*metric.labels, *({"le"} if part == "_bucket" else ())}
    for metric in METRICS
    for part in PARTS[metric.kind]
}


def queries():
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            # As Grafana does before it asks.
            yield panel["title"], re.sub(r"\$__(rate_interval|range)", "5m", target["expr"])


@pytest.mark.parametrize(("name", "query"), list(queries()))
def test_each_query_parses_and_names_metrics_and_labels_that_are_exported(name, query):
    promql_parser.parse(query)
    names = set(re.findall(r"\bdatamig_\w+", query))
    assert names
    assert names <= LABELS.keys()
    matched = set(re.findall(r"(\w+)\s*=~?\s*\"", query))
    grouped = {word for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for word in group.split(", ")}
    assert matched | grouped <= set().union(*(LABELS[each] for each in names))


def test_alerts_fill_their_words_with_labels_that_they_have():
    for rule in RULES:
        used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        groups = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
        names = re.findall(r"\bdatamig_\w+", rule["expr"])
        has = set(groups[0].split(", ")) if groups else set.union(*(LABELS[name] for name in names))
        assert used <= has, rule["alert"]


def test_the_page_tells_of_every_alert_and_metric():
    page = (FOLDER.parent / "how-to/monitor.md").read_text()
    assert {rule["alert"] for rule in RULES} == set(re.findall(r"`(Datamig\w+)`", page))
    reference = (FOLDER.parent / "reference/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*) \|$", reference, re.MULTILINE)
    assert [(name, kind, re.findall(r"`(\w+)`", labels), text) for name, kind, labels, text in rows] == [
        (metric.name, metric.kind, list(metric.labels), metric.help) for metric in METRICS
    ]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_own_tool_agrees():
    for words in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
        subprocess.run(["promtool", *words], cwd=FOLDER, check=True, capture_output=True)
