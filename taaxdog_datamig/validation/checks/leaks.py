"""Security: numbers in free text and JSON that belong in a column of their own, or nowhere.

SQL names suspects cheaply, `identifiers.prose` judges them. What that finds SQL must not leave out: a test
holds them to it. The four rules have one condition for a column, which is worked out once a row.

Its first part settles nearly all rows: where letters and digits are spelled in hex, LIKE can ask for digits.
What a look at one column of a million bank transactions adds to their scan (PostgreSQL 18, UTF8; `count(*)`
alone 0.04 to 0.07 s): this part 0.11 s, the same question as a regex 0.28 s, a regex for digits in groups
0.8 s, counting digits with translate() 1.5 s, one word by `~*` 0.4 s; a regex over nine columns joined 0.9 s.
In a text full of digits (numbers of seven and nine) a word costs 0.14 us by strpos() and 0.3 us by LIKE; one
regex for all forms costs 2.6 us, one for all words 1.1 us.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from taaxdog_datamig.pg.quoting import literal
from taaxdog_datamig.validation.model import Check, ExaminedCheck, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taaxdog_datamig.identifiers.prose import Kind
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedTable
    from taaxdog_datamig.validation.examine import ExaminedRow
    from taaxdog_datamig.validation.scene import Scene

_OR_SAY_SO = " If the column is there for such numbers, say so in the profile: `free_text = false`."

TFN_IN_TEXT = Rule(
    id="tfn-in-text",
    title="Tax file number in free text",
    category="security",
    severity="high",
    meaning="A valid tax file number stands in text or JSON, next to words that call it one. There it is not "
    "encrypted, and turns up in searches, exports and logs.",
    remedy="Take the number out of the text; where it is needed, keep it in a sensitive column." + _OR_SAY_SO,
)
CARD_IN_TEXT = Rule(
    id="card-in-text",
    title="Payment card number in free text",
    category="security",
    severity="high",
    meaning="A full card number stands in text or JSON: an issuer's range and length, with the right check "
    "digit. Whoever stores one falls under PCI DSS.",
    remedy="Take it out, or leave the last four digits: **** 1111." + _OR_SAY_SO,
)
ACCOUNT_IN_TEXT = Rule(
    id="account-in-text",
    title="Bank account in free text",
    category="security",
    severity="medium",
    meaning="A BSB and an account number stand together in text or JSON, where they are not encrypted.",
    remedy="Take the account number out, or leave its last three digits." + _OR_SAY_SO,
)
ABN_IN_TEXT = Rule(
    id="abn-in-text",
    title="ABN in free text",
    category="security",
    severity="warning",
    meaning="A valid Australian business number stands in text or JSON. ABNs are public, but a sole trader's "
    "names a person, and a number in a text is not kept up to date.",
    remedy="Move it to the column for ABNs, or leave it." + _OR_SAY_SO,
)

RULES = (TFN_IN_TEXT, CARD_IN_TEXT, ACCOUNT_IN_TEXT, ABN_IN_TEXT)
_KINDS: Final[dict[Kind, Rule]] = {
    "tfn": TFN_IN_TEXT,
    "card": CARD_IN_TEXT,
    "account": ACCOUNT_IN_TEXT,
    "abn": ABN_IN_TEXT,
}


def checks(scene: Scene) -> list[Check]:
    """The checks of this category: each rule for each column that may hold free text."""
    return [
        ExaminedCheck(
            rule=rule,
            table=table.spec.name,
            columns=(name,),
            part=f"{table.spec.name}.{name}",
            suspect=suspect(column),
            looked_at=(name,),
            violated=_holds(kind, name),
        )
        for table in scene.profile.tables.values()
        for name, column in free_texts(scene, table)
        for kind, rule in _KINDS.items()
    ]


def _holds(kind: Kind, name: str) -> Callable[[ExaminedRow], bool]:
    return lambda row: kind in row.numbers(name)


#: pg_type.typname of what holds text; arrays are looked at in their text form.
_PROSE: Final = frozenset({"text", "varchar", "bpchar", "citext", "_text", "_varchar", "_bpchar", "_citext"})
_JSON: Final = frozenset({"json", "jsonb"})
#: Characters of the shortest finding: a label of three letters and eight digits.
_SHORTEST: Final = 11

#: Anywhere in a column's name: a number, an address or a secret by its own meaning.
_OWN_MEANING: Final = frozenset(
    {"abn", "acn", "tfn", "bsb", "hash", "token", "secret", "password"}
    | {"email", "ip", "phone", "mobile", "uuid", "url", "uri", "image", "agent"}
)
#: At its end: a name for something, or a word from a list that the application has.
_OWN_FORM: Final = frozenset(
    {"id", "ids", "key", "number", "reference", "ref", "code", "codes"}
    | {"type", "types", "status", "state", "category", "categories", "subcategory", "direction", "currency"}
    | {
        "provider",
        "model",
        "method",
        "interval",
        "period",
        "frequency",
        "timezone",
        "jurisdiction",
        "version",
    }
    | {"role", "severity", "priority", "postcode", "year", "month", "scope"}
)


def free_texts(scene: Scene, table: FittedTable) -> Iterator[tuple[str, Column]]:
    """The columns of a table that may hold free text, with their logical names."""
    relation = table.relation
    referring = {name for key in scene.references if key.child == relation.oid for name in key.child_columns}
    sensitive = {column.name for column in table.sensitive.values()}
    logical = {
        column.name: spec for spec in table.spec.columns.values() if (column := table.column(spec.name))
    }
    for column in relation.columns.values():
        if column.base not in _PROSE | _JSON or column.name in {*relation.key, *referring, *sensitive}:
            continue
        spec = logical.get(column.name)
        told = spec.free_text if spec else None
        if told if told is not None else _looks_free(column):
            yield (spec.name if spec else column.name), column


def _looks_free(column: Column) -> bool:
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", column.name)]
    if not _OWN_MEANING.isdisjoint(words) or (column.limit or _SHORTEST) < _SHORTEST:
        return False
    return column.base in _JSON or not words or words[-1] not in _OWN_FORM


def _digits(*groups: int, first: str = "3_", gap: str = "2_") -> str:
    """A LIKE pattern for groups of digits in hex. An ASCII digit is 30 to 39, a space 20, a hyphen 2d."""
    return f"'%{gap.join('3_' * group for group in groups).replace('3_', first, 1)}%'"


#: Whatever is looked for has two digits, then three, then three ...
_EIGHT: Final = _digits(2, 3, 3, gap="%")
#: ... eight of them in a row, or two threes joined by a space or hyphen, or somewhere a no-break space, also
#: as JSON escapes it.
_JOINED: Final = f"{_digits(8)}, {_digits(3, 3)}, '%c2a0%', '%5c753030_130%'"
#: Cards and ABNs in groups.
_GROUPED: Final = f"{_digits(4, 4, 4, 4)}, {_digits(4, 6, 4)}, {_digits(2, 3, 3, 3, gap='20')}"
#: Cards in one, by first digit and shortest length.
_SOLID: Final = ", ".join(
    _digits(length, first=f"3{digit}") for digit, length in ((2, 16), (3, 14), (4, 13), (5, 16), (6, 16))
)


def suspect(column: Column) -> str:
    """SQL, true of every row `t` in whose column `identifiers.prose` finds something."""
    # Doubled braces: the condition is bound like any other.
    value = f"t.{column.quoted}".replace("{", "{{").replace("}", "}}")
    text = value if column.textual else f"{value}::text"
    # In collation "C" they look at bytes, and LIKE works whatever the column's own collation.
    spelled = f"encode(textsend({text}), 'hex') COLLATE \"C\""
    lower = f'lower({text} COLLATE "C")'

    def has(*words: str) -> str:
        return f"({' AND '.join(f'strpos({lower}, {literal(word)}) > 0' for word in words)})"

    labelled = " OR ".join(
        has(*words)
        for words in (("tfn",), ("abn",), ("t.f.n",), ("a.b.n",), ("tax", "file"), ("business", "number"))
    )
    solid = f"({spelled} LIKE {_digits(13)} AND {spelled} LIKE ANY (ARRAY[{_SOLID}]))"
    # The regex keeps UUIDs out.
    bsb = (
        f"({spelled} LIKE {_digits(3, 3, gap='2d')} AND ({has('acc')} OR {has('/c')})"
        f" AND {text} ~ '[0-9]{{{{3}}}}-[0-9]{{{{3}}}}([^0-9-]|$)')"
    )
    # Only text has a cheap length. CASE, since AND goes on behind a NULL.
    long_enough = f"octet_length({text}) >= {_SHORTEST}" if column.textual else f"{value} IS NOT NULL"
    return (
        f"CASE WHEN {long_enough} THEN {spelled} LIKE {_EIGHT} AND ({has('bsb')} OR"
        f" ({spelled} LIKE ANY (ARRAY[{_JOINED}])"
        f" AND ({labelled} OR {spelled} LIKE ANY (ARRAY[{_GROUPED}]) OR {solid} OR {bsb}))) END"
    )
