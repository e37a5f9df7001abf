"""A baseline: only what is new fails, by counts, and what is known is told and not shown."""

from __future__ import annotations

import attrs
import handmade
import pytest
from handmade import check

from taaxdog_datamig.errors import UsageError


def compared(now, then, **values):
    """What a check of these is, next to the baseline."""
    report = handmade.report(now, **values)
    (found,) = report.since(handmade.report(then)).checks
    return found


@pytest.mark.parametrize(
    ("then", "now", "new", "known"),
    [(0, 0, 0, 0), (0, 5, 5, 0), (5, 5, 0, 5), (5, 3, 0, 3), (5, 8, 3, 5), (5, 0, 0, 0)],
)
def test_what_is_more_than_then_is_new(then, now, new, known):
    found = compared(check(violations=now), check(violations=then))
    assert (found.new, found.known, found.failed) == (new, known, new > 0)
    assert (found.violations, found.before) == (now, then)


@pytest.mark.parametrize(
    "then",
    [
        check("another", violations=5),
        check(violations=0, error="it was not done in time"),
        check(violations=0, skipped="there was no such table"),
    ],
    ids=["absent", "error", "skipped"],
)
def test_where_the_baseline_does_not_know_everything_is_new(then):
    found = compared(check(violations=5), then)
    assert (found.new, found.before) == (5, None)


@pytest.mark.parametrize(
    ("then", "now", "new"),
    [((5, 0), (0, 5), [0, 0]), ((0, 5), (5, 0), [0, 0]), ((5, 1), (2, 5), [0, 1]), ((5, 0), (6, 1), [1, 1])],
    ids=["sealed", "opened", "one more", "no move"],
)
def test_what_was_sealed_meanwhile_is_known(then, now, new):
    then, now = (
        handmade.report(
            check("a:users.tfn", violations=clear), check("a:users.tfn.sealed", violations=sealed)
        )
        for clear, sealed in (then, now)
    )
    found = {check.id: check for check in now.since(then).checks}
    assert [found["a:users.tfn"].new, found["a:users.tfn.sealed"].new] == new
    assert sum(check.before for check in found.values()) == sum(check.violations for check in then.checks)


def test_the_report_is_valid_when_nothing_new_is_as_severe_as_fail_on():
    then = handmade.report(check("a", violations=5), check("b", severity="high"))
    now = handmade.report(check("a", violations=5), check("b", severity="high"))
    assert not now.valid
    assert now.since(then).valid
    worse = handmade.report(check("a", violations=6), check("b", severity="high"))
    assert not worse.since(then).valid
    assert attrs.evolve(worse, fail_on="high").since(then).valid


def test_a_check_that_could_not_be_made_is_never_known():
    broken = handmade.report(check(error="the server refused its SQL"))
    assert not broken.since(broken).valid


def test_new_findings_come_first_and_keys_that_were_not_named_then():
    then = handmade.report(
        check("a", severity="critical", violations=2, sample_keys=("k1", "k2")),
        check("b", violations=2, sample_keys=("k1", "k3")),
    )
    now = handmade.report(
        check("a", severity="critical", violations=2, sample_keys=("k1", "k2")),
        check("b", violations=4, sample_keys=("k1", "k2", "k3", "k4")),
    ).since(then)
    assert [each.id for each in now.checks] == ["b", "a"]
    assert now.checks[0].sample_keys == ("k2", "k4", "k1", "k3")
    assert [each.id for each in now.failed] == ["b"]
    assert [each.id for each in now.known] == ["a"]
    assert now.baseline == then.moment


def test_a_baseline_about_other_rows_is_refused():
    mine, all_ = handmade.report(check(), user_id="u1"), handmade.report(check())
    with pytest.raises(UsageError, match="the baseline is about the rows of user u1"):
        all_.since(mine)
    with pytest.raises(UsageError, match="the baseline is about all rows"):
        mine.since(all_)


def test_a_report_next_to_a_baseline_can_be_the_next_baseline():
    first = handmade.report(check(violations=5))
    second = handmade.report(check(violations=8)).since(first)
    third = handmade.report(check(violations=8)).since(second)
    assert third.valid
