"""What SQL takes for a legacy digest is what `recognise` takes for one, on a server."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from taaxdog_datamig.passwords import (
    CHEAPEST_COST,
    LegacyForm,
    Pepper,
    predicates,
    recognise,
    unusable,
    wrap,
)
from tests.sample import rows

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "password-hash-vectors.json").read_text("utf-8"))
PEPPER = Pepper({name: bytes.fromhex(secret) for name, secret in VECTORS["peppers"].items()})
DIGESTS = ["5f4dcc3b5aa765d61d8327deb882cf99", *("0123456789abcdef"[:8] * n for n in (5, 8, 16))]
ORDERS = ("password", "salt+password", "password+salt", "salt+password+salt")
ALGORITHMS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}


def wrapped_in_every_way():
    for algorithm, length in ALGORITHMS.items():
        for order in ORDERS:
            salted = "(?P<salt>salt)" if order != "password" else ""
            form = LegacyForm(
                name="any",
                pattern=f"{salted}:(?P<digest>[0-9a-f]+)",
                algorithm=algorithm,
                order=order,
            )
            stored = ("salt:" if salted else ":") + "a" * length
            for to in ("bcrypt", "argon2id"):
                for pepper in (None, PEPPER):
                    yield wrap(stored, to=to, cost=CHEAPEST_COST, pepper=pepper, forms=[form])


KNOWN = [
    *(vector["stored"] for part in ("accepted", "wrapped") for vector in VECTORS[part]),
    *(vector["stored"] for vector in VECTORS["refused"]),
    *wrapped_in_every_way(),
    *(spelled for digest in DIGESTS for spelled in (digest, digest.upper())),
    *("", "!", "!" + "a" * 40, unusable()),
]
#: What a character of a known value is changed to, to see how exactly both sides look.
PIECES = st.sampled_from(
    ["", "\n", " ", "$", ",", ".", "=", "a", "A", "g", "0", "9", "\u0661", "\u00e9", "aa"]
)


@st.composite
def texts(draw):
    text = draw(st.sampled_from(KNOWN))
    place = draw(st.integers(0, len(text)))
    kept = draw(st.sampled_from([0, 1]))
    return text[:place] + draw(PIECES) + text[place + kept :]


async def test_the_predicates_say_what_recognise_says(database):
    seen = set(KNOWN)

    # Collected first: thousands of texts are one statement then.
    @settings(max_examples=3000, database=None)
    @given(st.one_of(texts(), st.text(st.characters(exclude_categories=["Cs"]), max_size=50)))
    def collect(text):
        seen.add(text)

    collect()
    found = await rows(
        database,
        f"SELECT x, {predicates.legacy('x')} AS legacy, {predicates.doubtful('x')} AS doubtful"
        " FROM unnest($1::text[]) AS s(x)",
        [text for text in seen if "\0" not in text],
    )
    kinds = set()
    for text, legacy, doubtful in found:
        kind = recognise(text).kind
        kinds.add((kind, doubtful))
        assert legacy == (kind == "legacy"), text
        assert doubtful or kind not in {"legacy", "unknown"}, text
        # Only the rarer modern forms are left to a second look.
        assert not doubtful or kind in {"legacy", "unknown", "modern"}, text
    assert kinds >= {("legacy", True), ("unknown", True), ("modern", False), ("wrapped", False)}


async def test_no_value_is_no_digest(database):
    ((legacy, doubtful),) = await rows(
        database, f"SELECT {predicates.legacy('NULL::text')}, {predicates.doubtful('NULL::text')}"
    )
    assert not legacy
    assert not doubtful
