"""Phone numbers as Australians write them: E.164 where one exists, the national form where none does.

`phonenumbers` decides what is a number; the common spellings are read without asking it each time, with the
same answer. Three things it would drop or invent make a text "invalid" here, so that whoever normalises it
loses nothing: an extension ("ext 5"), letters (1300 FLOWER, "0491 570 006 (h)", "Tel:"), and a number whose
own E.164 form would be read as another number.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    import re

PhoneKind: TypeAlias = Literal["e164", "national", "foreign", "invalid"]
InvalidReason: TypeAlias = Literal[
    "no valid number",
    "has an extension",
    "has letters",
    "is read in two ways",
]

#: Deleted before a spelling is looked at: all of it punctuation to `phonenumbers`, wherever it stands.
_SEPARATORS: Final = str.maketrans("", "", " -.()\u00a0")
#: Characters; `phonenumbers` reads no longer text.
_LONGEST: Final = 250
#: 13xxxx, 1300, 1345xxxx, 180xxxx and 1800 cannot be dialled from abroad.
_NATIONAL: Final = ("13", "180")


@attrs.frozen
class Phone:
    """What a text says as a phone number. The number never appears in `repr`."""

    #: `e164`: an Australian number, +61 (Christmas and Cocos Islands too). `national`: an Australian number
    #: that cannot be dialled from abroad and so has no E.164 form: 13xxxx, 1300, 1345xxxx, 180xxxx, 1800.
    #: `foreign`: a number of another country or of an international network. `invalid`: none of these.
    kind: PhoneKind
    #: The one spelling of this number: E.164 (`+61491570006`), or for `national` its digits alone
    #: (`1300975707`, `131166`), however it was written; None when invalid.
    value: str | None = attrs.field(default=None, repr=False)
    #: Why it is invalid; None for the other kinds.
    reason: InvalidReason | None = None


def classify(text: str) -> Phone:
    """Tell what a text written in Australia says as a phone number.

    Agrees with `phonenumbers` (region AU): `invalid` is what it finds no valid number in, besides the three
    cases of this module's docstring, and `value` is its E.164 form. "+61 13 11 66" is told from an ordinary
    number by what stands behind +61: no area code begins with 1, so it is `national`, 131166. `value`
    classifies as itself. Any text is judged without error, of any length.
    """
    nsn = _common(text)
    return Phone(*_australian(nsn)) if nsn else _uncommon(text)


def normalise(text: str) -> str | None:
    """Return a number's one spelling, E.164 or the digits of a national number; None when invalid."""
    nsn = _common(text)
    return _australian(nsn)[1] if nsn else _uncommon(text).value


def is_valid(text: str) -> bool:
    """Tell whether a text is a phone number and nothing more. Whether it is in use, no rule can tell."""
    return normalise(text) is not None


def _common(text: str) -> str | None:
    """Return the national significant number when the text is one of the common spellings; None: unsure."""
    match = _spelling().fullmatch(text.translate(_SEPARATORS)) if len(text) <= _LONGEST else None
    return match["nsn"] if match else None


def _australian(nsn: str) -> tuple[PhoneKind, str]:
    """Kind and value of a valid Australian number."""
    return ("national", nsn) if nsn.startswith(_NATIONAL) else ("e164", f"+61{nsn}")


@functools.cache
def _spelling() -> re.Pattern[str]:
    from taaxdog_datamig.identifiers import numbering_plan  # noqa: PLC0415 - slow to import, see there

    return numbering_plan.spelling()


def _uncommon(text: str) -> Phone:
    from taaxdog_datamig.identifiers import numbering_plan  # noqa: PLC0415 - slow to import, see there

    number = numbering_plan.read(text)
    if number is None:
        return Phone("invalid", reason="no valid number")
    if number.extension:
        return Phone("invalid", reason="has an extension")
    if any(map(str.isalpha, text)):
        return Phone("invalid", reason="has letters")
    nsn = numbering_plan.national_significant_number(number)
    if number.country_code == numbering_plan.COUNTRY_CODE:
        kind, value = _australian(nsn)
    else:
        kind, value = "foreign", f"+{number.country_code}{nsn}"
    if numbering_plan.read(value) != number:
        return Phone("invalid", reason="is read in two ways")
    return Phone(kind, value)
