from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taaxdog_datamig.redaction import redact

#: Prose without digits and without what binds digits to a date, a decimal or a key id.
PROSE = st.text(st.sampled_from("abXY zé\n\t:;!?'\"{}[]<>=_%"), max_size=20)
NUMBERS = st.sampled_from(
    [
        "123456782",
        "876543210",
        "648188480",
        "37118629",
        "51824753556",
        "53004085616",
        "0491570156",
        "+61491570156",
    ]
)
JOINTS = st.sampled_from(["", " ", "-", ".", "\u00a0", " - ", "\u2013"])


@given(PROSE, NUMBERS, st.data(), PROSE)
def test_a_number_in_any_grouping_leaves_no_digit(before, number, data, after):
    # Two parts joined by a dot are a decimal number, four an address: both stay.
    cuts = sorted(data.draw(st.sets(st.integers(2, len(number) - 2), max_size=3)))
    parts = [number[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    joint = data.draw(JOINTS.filter(lambda joint: joint != "." or len(parts) in {1, 3}))
    clean = redact(f"{before} {joint.join(parts)} {after}")
    assert not any(map(str.isdigit, clean))


@given(st.text())
def test_redacting_twice_changes_nothing_more(text):
    once = redact(text)
    assert redact(once) == once


@given(st.text("0123456789 -.:,TZabk()@/'=$[]{}\n"))
def test_no_eight_digits_in_a_row_stay_unless_in_a_decimal_or_an_identifier(text):
    for word in redact(text).split():
        run = longest = 0
        for character in word:
            run = run + 1 if character in "0123456789" else 0
            longest = max(longest, run)
        assert longest < 8 or "." in word or "-" in word or "k" in word or "T" in word


@given(st.uuids(), st.datetimes(), st.integers(0, 10**12), st.integers(0, 9_999_999))
def test_identifiers_times_and_counts_stay(uuid, time, count, small):
    text = f"row {uuid} at {time.replace(year=2026).isoformat()}: {count:,} rows, {small} more"
    assert redact(text) == text
