"""Australian compliance: identifiers, bank details, postcodes and phone numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from taaxdog_datamig.identifiers import account_number, bsb, phone, predicates, tfn
from taaxdog_datamig.migration.phones import fits, phones, rewritten
from taaxdog_datamig.profile import over
from taaxdog_datamig.validation.checks import gst
from taaxdog_datamig.validation.checks.sealed import holds_tfn, opened, plain_and_sealed, plaintext, sensitive
from taaxdog_datamig.validation.model import Check, ExaminedCheck, RowCheck, Rule
from taaxdog_datamig.validation.sharing import shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taaxdog_datamig.validation.examine import ExaminedRow
    from taaxdog_datamig.validation.scene import Scene

ABN_MALFORMED = Rule(
    id="abn-malformed",
    title="ABN is not eleven digits",
    category="australian-compliance",
    severity="medium",
    meaning="An Australian business number has eleven digits, the first of them not 0; spaces and hyphens "
    "may stand between them. Often it is an ACN of nine digits in the wrong place.",
    remedy="Look the business up in the ABN Lookup of the Australian Business Register, or ask it.",
)
ABN_CHECK_DIGIT = Rule(
    id="abn-check-digit",
    title="ABN has wrong check digits",
    category="australian-compliance",
    severity="medium",
    meaning="Eleven digits that no business can have: most likely one was mistyped. A tax invoice with it "
    "is not valid, and its GST cannot be claimed.",
    remedy="Look the business up in the ABN Lookup of the Australian Business Register, or ask it.",
)
TFN_MALFORMED = Rule(
    id="tfn-malformed",
    title="Tax file number is not eight or nine digits",
    category="australian-compliance",
    severity="high",
    meaning="The ATO refuses a return with it. Sealed values are opened to find this out, and never shown.",
    remedy="Ask the user for the number again.",
)
TFN_CHECK_DIGIT = Rule(
    id="tfn-check-digit",
    title="Tax file number has a wrong check digit",
    category="australian-compliance",
    severity="high",
    meaning="Digits that nobody's number has: most likely one was mistyped. The ATO refuses a return with "
    "it, or payers withhold tax at the top rate. Sealed values are opened to find this out, and never shown.",
    remedy="Ask the user for the number again.",
)
TFN_PLACEHOLDER = Rule(
    id="tfn-placeholder",
    title="Code in the place of a tax file number",
    category="australian-compliance",
    severity="warning",
    meaning="An exemption code of the ATO, such as 444444444, or a placeholder. It is nobody's number: "
    "payers may report it, but no return can be lodged with it.",
    remedy="Ask the user for the number before a return is lodged.",
)
BSB_MALFORMED = Rule(
    id="bsb-malformed",
    title="BSB is not six digits",
    category="australian-compliance",
    severity="medium",
    meaning="A bank-state-branch number has six digits, with or without a hyphen in the middle. A refund to "
    "this account would be returned.",
    remedy="Fetch the account from the bank again, or ask the user.",
)
ACCOUNT_NUMBER_MALFORMED = Rule(
    id="account-number-malformed",
    title="Account number does not have four to ten digits",
    category="australian-compliance",
    severity="medium",
    meaning="Australian account numbers are digits only, at most ten; spaces and hyphens may stand between "
    "them. Longer ones are mostly card numbers, which do not belong here.",
    remedy="Fetch the account from the bank again, or ask the user.",
)
POSTCODE_MISMATCH = Rule(
    id="postcode-mismatch",
    title="Postcode is not one of the state's",
    category="australian-compliance",
    severity="warning",
    meaning="One of the two is most likely wrong, or the postcode lost the 0 in front. A few towns at a "
    "border do have a postcode of the other state.",
    remedy="Compare with the city; ask the user.",
)
PHONE_NOT_E164 = Rule(
    id="phone-not-e164",
    title="Phone number is not in E.164 form",
    category="australian-compliance",
    severity="low",
    meaning="The number is good, but in another spelling than +61...: it cannot be compared with others, "
    "and services that send messages may refuse it.",
    remedy="Run normalize-phones, and have the application write E.164 only.",
    fix="normalize-phones",
)
PHONE_INVALID = Rule(
    id="phone-invalid",
    title="Phone number is no valid number",
    category="australian-compliance",
    severity="low",
    meaning="No number can be read from it with certainty: too long, too short, in a range that is not "
    "given out, or with words or an extension. normalize-phones leaves it as it stands.",
    remedy="Ask the user for the number again.",
)
PHONE_NATIONAL_ONLY = Rule(
    id="phone-national-only",
    title="Phone number cannot be dialled from abroad",
    category="australian-compliance",
    severity="warning",
    meaning="13, 1300 and 1800 numbers have no E.164 form, and receive no messages. They belong to "
    "businesses, seldom to a person. normalize-phones leaves them as they stand.",
    remedy="Ask the user for another number if messages are to arrive.",
)

RULES = (
    ABN_MALFORMED,
    ABN_CHECK_DIGIT,
    TFN_MALFORMED,
    TFN_CHECK_DIGIT,
    TFN_PLACEHOLDER,
    BSB_MALFORMED,
    ACCOUNT_NUMBER_MALFORMED,
    POSTCODE_MISMATCH,
    PHONE_NOT_E164,
    PHONE_INVALID,
    PHONE_NATIONAL_ONLY,
    *gst.RULES,
)

_ABNS = (
    ("users", "abn"),
    ("receipts", "abn"),
    ("invoices", "customerABN"),
    ("gst_transaction_details", "supplierABN"),
)


def checks(scene: Scene) -> list[Check]:
    """The checks of this category."""
    return [*_abns(), *_tfns(scene), *_bank_details(scene), _postcode(), *_phones(scene), *gst.checks(scene)]


def _abns() -> Iterator[Check]:
    for table, column in _ABNS:
        for rule, broken in (
            (ABN_MALFORMED, predicates.abn_malformed),
            (ABN_CHECK_DIGIT, predicates.abn_misread),
        ):
            yield RowCheck(
                rule=rule,
                table=table,
                columns=(column,),
                part=f"{table}.{column}",
                violation=over(broken, column),
            )


def _tfns(scene: Scene) -> Iterator[Check]:
    kinds: tuple[tuple[Rule, Callable[[str], str], tfn.Fault], ...] = (
        (TFN_MALFORMED, predicates.tfn_malformed, "form"),
        (TFN_CHECK_DIGIT, predicates.tfn_misread, "check digit"),
        (TFN_PLACEHOLDER, predicates.tfn_placeholder, "placeholder"),
    )
    for table, column in sensitive(scene):
        if holds_tfn(column):
            for rule, broken, fault in kinds:
                yield from plain_and_sealed(rule, table.spec.name, column, broken, _faulty(fault))


#: Three checks ask about the same value, one after the other.
_fault = lru_cache(maxsize=1)(tfn.fault)
_classified = lru_cache(maxsize=1)(phone.classify)


def _faulty(fault: tfn.Fault) -> Callable[[str], bool]:
    return lambda text: _fault(text) == fault


def _bank_details(scene: Scene) -> Iterator[Check]:
    kinds: dict[str, tuple[Rule, Callable[[str], str], Callable[[str], bool]]] = {
        "bsb": (BSB_MALFORMED, predicates.bsb_malformed, bsb.is_valid),
        "account_number": (
            ACCOUNT_NUMBER_MALFORMED,
            predicates.account_number_malformed,
            account_number.is_valid,
        ),
    }
    for table, column in sensitive(scene):
        if column in kinds:
            rule, broken, valid = kinds[column]
            yield from plain_and_sealed(rule, table.spec.name, column, broken, _not(valid))


def _not(valid: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: not valid(text)


def _postcode() -> Check:
    return RowCheck(
        rule=POSTCODE_MISMATCH,
        table="users",
        columns=("state", "postcode"),
        violation=over(predicates.postcode_elsewhere, "state", "postcode"),
    )


def _not_e164(text: str) -> bool:
    return rewritten(_classified(text), text) is not None


def _invalid(text: str) -> bool:
    return _classified(text).kind == "invalid"


def _national(text: str) -> bool:
    return _classified(text).kind == "national"


def _phones(scene: Scene) -> Iterator[Check]:
    for table in scene.profile.tables.values():
        for column, here in phones(table).items():
            if not fits(here):
                continue
            for rule, judge, certain in (
                (PHONE_NOT_E164, _not_e164, over(_spelled, column)),
                (PHONE_INVALID, _invalid, ""),
                (PHONE_NATIONAL_ONLY, _national, ""),
            ):
                yield _written(rule, table.spec.name, column, judge, certain)
                if column in table.sensitive:
                    yield opened(rule, table.spec.name, column, judge)


def _spelled(text: str) -> str:
    known = shared(predicates.phone_known(text))
    return f"{plaintext(text)} AND {predicates.phone_spelled(text, known)}"


def _written(
    rule: Rule, table: str, column: str, judge: Callable[[str], bool], certain: str
) -> ExaminedCheck:
    """Numbers in plain text that are neither plainly in E.164 nor plainly spelled in another way."""

    def suspect(text: str) -> str:
        return f"{plaintext(text)} AND NOT {shared(predicates.phone_known(text))}"

    def violated(row: ExaminedRow) -> bool:
        return judge(row[column] or "")

    return ExaminedCheck(
        rule=rule,
        table=table,
        columns=(column,),
        part=f"{table}.{column}",
        suspect=over(suspect, column),
        looked_at=(column,),
        violated=violated,
        certain=certain,
        # Reading one costs up to 50 microseconds.
        may_sample=True,
        effort=10,
    )
