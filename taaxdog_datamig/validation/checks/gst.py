"""Australian compliance: GST, tax categories and totals.

GST is 1/11 of an amount that includes it, and half a cent rounds up. Who rounds each line apart may be off by
half a cent a line; either is accepted. No GST at all is right where a supply is GST-free.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from taaxdog_datamig.profile import placeholders
from taaxdog_datamig.validation.model import Check, Findings, FunctionCheck, RowCheck, Rule
from taaxdog_datamig.validation.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.validation.scene import Scene

GST_NEGATIVE = Rule(
    id="gst-negative",
    title="GST is negative",
    category="australian-compliance",
    severity="medium",
    meaning="The GST of a purchase or a sale is never below zero. In a BAS it would lower what was paid "
    "elsewhere.",
    remedy="Correct the sign, or compute the GST anew. A refund is an entry of its own, with a negative "
    "amount.",
)
GST_ABOVE_AMOUNT = Rule(
    id="gst-above-amount",
    title="GST is more than the amount",
    category="australian-compliance",
    severity="high",
    meaning="More GST than was paid at all: most likely the two were swapped, or one lost its decimal point.",
    remedy="Compare with the tax invoice and correct it.",
)
GST_ABOVE_RATE = Rule(
    id="gst-above-rate",
    title="GST is more than one eleventh of the amount",
    category="australian-compliance",
    severity="medium",
    meaning="GST is one eleventh of what was paid, rounded on the total or on each line, or the stated rate "
    "of the amount before it. More than that cannot be claimed: often a tenth of the total was taken.",
    remedy="Compare with the tax invoice; one eleventh of the total is the most there can be.",
)
GST_BELOW_RATE = Rule(
    id="gst-below-rate",
    title="GST is less than one eleventh of the amount",
    category="australian-compliance",
    severity="warning",
    meaning="That is right where a part of the purchase was GST-free, such as food, and wrong otherwise.",
    remedy="Compare with the tax invoice.",
)
GST_ON_UNTAXED = Rule(
    id="gst-on-untaxed",
    title="GST on a supply that bears none",
    category="australian-compliance",
    severity="medium",
    meaning="The supply is GST-free, input taxed or out of scope, and GST is recorded for it. One of the "
    "two is wrong, and the BAS with it.",
    remedy="Compare with the tax invoice; correct the treatment or the GST.",
)
TAX_CATEGORY_UNKNOWN = Rule(
    id="tax-category-unknown",
    title="Tax category does not exist",
    category="australian-compliance",
    severity="medium",
    meaning="The categories are the deduction labels D1 to D15, P8 and PERSONAL. What has another one is in "
    "no part of the return.",
    remedy="Give it one of the labels.",
)
TOTAL_MISMATCH = Rule(
    id="total-mismatch",
    title="Total is not the sum of amount and GST",
    category="australian-compliance",
    severity="high",
    meaning="A tax invoice must show amounts that add up. Customer and supplier may report different GST.",
    remedy="Find out which of the three is wrong, and issue the invoice anew.",
)

RULES = (
    GST_NEGATIVE,
    GST_ABOVE_AMOUNT,
    GST_ABOVE_RATE,
    GST_BELOW_RATE,
    GST_ON_UNTAXED,
    TAX_CATEGORY_UNKNOWN,
    TOTAL_MISMATCH,
)

_LABELS: Final = ", ".join(f"'{label}'" for label in (*(f"D{n}" for n in range(1, 16)), "P8", "PERSONAL"))
#: Keys in the report of a check that has a statement of its own.
_SHOWN: Final = 10
_CATEGORISED: Final = (
    ("bank_transactions", "tax_category"),
    ("receipts", "tax_category"),
    ("gst_transaction_details", "taxCategory"),
)


def checks(scene: Scene) -> Iterator[Check]:
    """The checks of this part of the category."""
    yield from _eleventh("bank_transactions", "gst_amount", "amount", negative="{gst_amount} < 0", lines="1")
    lines = "1"
    if scene.has("receipts", "items"):
        kind = "jsonb_typeof({items}::jsonb)"
        lines = f"CASE {kind} WHEN 'array' THEN greatest(1, jsonb_array_length({{items}}::jsonb)) ELSE 1 END"
    refunded = "{gst_amount} < 0 AND {total_amount} >= 0"
    yield from _eleventh("receipts", "gst_amount", "total_amount", negative=refunded, lines=lines)
    yield from _details()
    yield from _invoices()
    for table, column in _CATEGORISED:
        yield RowCheck(
            rule=TAX_CATEGORY_UNKNOWN,
            table=table,
            columns=(column,),
            part=f"{table}.{column}",
            violation=f"{{{column}}}::text NOT IN ('', {_LABELS})",
        )


def _eleventh(table: str, gst: str, amount: str, *, negative: str, lines: str) -> Iterator[Check]:
    """GST against an amount that includes it.

    GST is 1/11 of the amount, rounded, where 11 GST - amount is above -0.055 and not above 0.055; with lines
    rounded apart, where it is within so much for each.
    """
    part = f"{table}.{gst}"
    gst, amount = f"{{{gst}}}", f"abs({{{amount}}})"
    # Most rows have none, and whatever is NULL would be computed to the end.
    given = f"{gst} IS NOT NULL"
    over = f"11 * {gst} - {amount}"
    for rule, violation in (
        (GST_NEGATIVE, negative),
        (GST_ABOVE_AMOUNT, f"{given} AND {gst} > {amount}"),
        (GST_ABOVE_RATE, f"{given} AND {over} > 0.055 AND {gst} <= {amount} AND {over} > 0.055 * {lines}"),
        (GST_BELOW_RATE, f"{given} AND {over} <= -0.055 AND {gst} > 0 AND {over} <= -0.055 * {lines}"),
    ):
        yield RowCheck(rule=rule, table=table, columns=_named(violation), part=part, violation=violation)


def _named(template: str) -> tuple[str, ...]:
    return tuple(name for name in placeholders(template) if name != "items")


def _details() -> Iterator[Check]:
    """GST against an amount before it, at a rate of its own."""
    gst, base = "{gstAmount}", "{baseAmount}"
    due = f"round(({base} * {{gstRate}} / 100)::numeric, 2)"
    taxable = "{gstTreatment}::text = 'TAXABLE_SUPPLY'"
    for rule, violation in (
        (GST_NEGATIVE, f"{gst} < 0 AND {base} >= 0"),
        (GST_ABOVE_AMOUNT, f"{gst} > abs({base})"),
        (GST_ABOVE_RATE, f"{gst} > {due} AND {gst} <= abs({base}) AND {base} >= 0 AND {taxable}"),
        (GST_BELOW_RATE, f"{gst} < {due} AND {gst} >= 0 AND {taxable}"),
        (
            GST_ON_UNTAXED,
            f"{gst} <> 0 AND {{gstTreatment}}::text IN ('GST_FREE', 'INPUT_TAXED', 'OUT_OF_SCOPE')",
        ),
        (TOTAL_MISMATCH, f"{{totalAmount}} <> {base} + {gst}"),
    ):
        yield RowCheck(
            rule=rule,
            table="gst_transaction_details",
            columns=_named(violation),
            part="gst_transaction_details.totalAmount"
            if rule is TOTAL_MISMATCH
            else "gst_transaction_details.gstAmount",
            violation=violation,
        )


def _invoices() -> Iterator[Check]:
    """Whole cents."""
    gst, subtotal = "{gstAmount}", "{subtotal}"
    for rule, violation, column in (
        (GST_NEGATIVE, f"{gst} < 0 AND {subtotal} >= 0", "gstAmount"),
        (GST_ABOVE_AMOUNT, f"{gst} > abs({subtotal})", "gstAmount"),
        (TOTAL_MISMATCH, f"{{total}} <> {subtotal} + {gst}", "total"),
    ):
        yield RowCheck(
            rule=rule,
            table="invoices",
            columns=_named(violation),
            part=f"invoices.{column}",
            violation=violation,
        )
    for rule, side in ((GST_ABOVE_RATE, ">"), (GST_BELOW_RATE, "<")):
        yield FunctionCheck(
            rule=rule,
            table="invoices",
            columns=("id", "subtotal", "gstAmount"),
            part="invoices.gstAmount",
            find=partial(_off_the_rate, side),
        )


async def _off_the_rate(side: str, connection: PoolConnectionProxy[Any], scene: Scene) -> Findings:
    """Invoices whose GST is a tenth neither of the whole nor of their lines, each rounded."""
    invoices, lines = scene.table("invoices"), scene.table("invoice_line_items")
    assert invoices is not None
    subject = Subject(table=invoices)
    due = "round({subtotal} / 10.0)"
    wrong = f"{{gstAmount}} > 0 AND {{gstAmount}} {side} {due} AND {{gstAmount}} <= {{subtotal}}"
    source = subject.source
    if lines is not None and scene.has("invoice_line_items", "invoiceId", "totalPrice"):
        each = scene.bound("{invoiceId}::text AS invoice, sum(round({totalPrice} / 10.0)) AS gst", lines)
        source += f" LEFT JOIN (SELECT {each} FROM {Subject(table=lines).source} GROUP BY 1) AS l"
        source += f" ON l.invoice = {scene.bound('{id}::text', invoices)}"
        wrong += " AND {gstAmount} IS DISTINCT FROM l.gst"
    query = f"SELECT {subject.key} AS key, count(*) OVER () AS count FROM {source}"
    query += f" WHERE {scene.bound(wrong, invoices)} LIMIT {_SHOWN}"
    rows = await connection.fetch(query)
    keys = tuple(sorted(",".join(row["key"]) for row in rows if row["key"]))
    return Findings(violations=rows[0]["count"] if rows else 0, sample_keys=keys)
