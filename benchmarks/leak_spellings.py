"""What `bench_leaks.py` plants: numbers with right check digits in many spellings, and their look-alikes."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from taaxdog_datamig.identifiers import abn, tfn
from taaxdog_datamig.identifiers.digits import luhn


@attrs.define
class Numbers:
    chance: random.Random

    def digits(self, count: int) -> str:
        return "".join(self.chance.choices("0123456789", k=count))

    def _until(self, good: Callable[[str], bool], make: Callable[[], str]) -> str:
        while not good(number := make()):
            pass
        return number

    def tfn(self) -> str:
        length = 8 if self.chance.random() < 0.1 else 9
        return self._until(tfn.is_valid, lambda: str(self.chance.randrange(1, 10)) + self.digits(length - 1))

    def abn(self) -> str:
        return self._until(abn.is_valid, lambda: str(self.chance.randrange(1, 10)) + self.digits(10))

    def card(self) -> str:
        prefix, length = self.chance.choice(
            [
                ("4", 16),
                ("4", 16),
                ("51", 16),
                ("55", 16),
                ("2221", 16),
                ("34", 15),
                ("37", 15),
                ("3528", 16),
                ("6011", 16),
                ("62", 16),
            ]
        )
        return self._until(luhn, lambda: prefix + self.digits(length - len(prefix)))

    def bsb(self) -> str:
        return f"{self.chance.choice(['01', '03', '06', '08', '48', '73'])}{self.digits(1)}-{self.digits(3)}"

    def account(self) -> str:
        return self.digits(self.chance.choice([6, 8, 9, 9, 10]))


def grouped(number: str, gap: str = " ") -> str:
    """As people write numbers of that length."""
    sizes = {8: (2, 3, 3), 9: (3, 3, 3), 11: (2, 3, 3, 3), 15: (4, 6, 5), 16: (4, 4, 4, 4)}[len(number)]
    parts, rest = [], number
    for size in sizes:
        parts, rest = [*parts, rest[:size]], rest[size:]
    return gap.join(parts)


#: kind -> class -> texts; {n} is the number solid, {g} in groups, {h} in groups with hyphens, {b} a BSB.
PROSE: dict[str, dict[str, list[str]]] = {
    "tfn-in-text": {
        "label in front": [
            "TFN {n}",
            "TFN: {g}",
            "tfn {g} as told on the phone",
            "Client's TFN is {n}.",
            "TFN#{n}",
            "tfn={n}",
            "Tax File Number {g}",
            "tax file no {n}",
            "ATO TFN {h} 2024 assessment",
            "TFN-{n}",
            "tfn of Mia: {g}",
        ],
        "label behind": [
            "{g} (TFN)",
            "{n} is her tax file number",
            "sent {g}, TFN of the applicant",
        ],
        "hard": [
            "my tax number: {n}",
            "{g}",
            "TFN 1. {n} 2. none",
            "TFN {d}",
        ],
    },
    "abn-in-text": {
        "label in front": [
            "ABN {n}",
            "ABN: {g}",
            "Supplier abn {n} verified",
            "A.B.N. {g}",
            "ABN {h} GST incl",
        ],
        "spelled, no label": [
            "Paid {g} Pty Ltd",
            "{g}",
            "{g} GST registered",
        ],
        "hard": [
            "{n}",
            "business no. {n}",
            "Tax invoice {g}",
        ],
    },
    "card-in-text": {
        "in groups": [
            "{g}",
            "card {g} exp 09/27",
            "Charged to {h}",
            "MasterCard {g} cvv 123",
            "pls use {g}, thanks",
        ],
        "solid": [
            "{n}",
            "visa {n}",
            "Paid by {n} today",
            "card no. {n}",
            "cc {n} 09/27",
        ],
        "hard": [
            "ref {n}",
            "card {d}",
            "VISA{n}",
        ],
    },
    "account-in-text": {
        "BSB and account": [
            "BSB {b} account {n}",
            "BSB: {b} Acc: {n}",
            "pay to account {b} {n}",
            "acct {b} / {n}",
            "bsb {s} acc no {n}",
            "Refund to BSB {b}, account number {n}",
            "a/c {n} BSB {b}",
            "Transfer {b} {n} savings account",
        ],
        "hard": [
            "{b} {n}",
            "account number {n}",
        ],
    },
}
DOCUMENTS: dict[str, dict[str, list[str]]] = {
    "tfn-in-text": {
        "JSON": [
            '{"tfn": "{n}"}',
            '{"a": {"taxFileNumber": {n}}}',
            '{"note": "TFN {g}"}',
            '{"person": {"tfns": ["{g}"]}}',
        ],
    },
    "abn-in-text": {
        "JSON": [
            '{"abn": "{n}"}',
            '{"supplier": {"abn": {n}}}',
            '{"lines": ["ABN {g}"]}',
        ],
    },
    "card-in-text": {
        "JSON": [
            '{"card": {"number": "{n}"}}',
            '{"pan": {n}}',
            '{"note": "{g}"}',
        ],
    },
    "account-in-text": {
        "JSON": [
            '{"bsb": "{b}", "account_number": "{n}"}',
            '{"to": {"bsb": "{s}", "accountNumber": "{n}"}}',
            '{"note": "BSB {b} account {n}"}',
        ],
    },
}


def lookalikes(numbers: Numbers) -> dict[str, str]:
    """Class of look-alike -> a text."""
    chance, digits = numbers.chance, numbers.digits
    year, month, day = chance.randrange(2015, 2026), chance.randrange(1, 13), chance.randrange(1, 29)
    word = chance.choice(["invoice", "Receipt", "REF", "order no.", "txn", "Booking:"])
    return {
        "phone": chance.choice(["Call 04{} {} {}", "+61 4{} {} {}", "ph 04{}{}{}", "61 4{} {} {}"]).format(
            digits(2), digits(3), digits(3)
        ),
        "phone beside TFN": f"TFN helpline 13 28 61, or 02 {digits(4)} {digits(4)}",
        "date": chance.choice(
            ["TFN on file since {}-{:02}-{:02}", "TFN received {}{:02}{:02}", "paid {}/{:02}/{:02}"]
        ).format(year, month, day),
        "amount": f"account fee $1{digits(8)}.{digits(2)}, TFN withheld {digits(9)}.{digits(2)}",
        "valid TFN, other word": f"{word} {numbers.tfn()}",
        "valid TFN, no word": f"PAYMENT {numbers.tfn()} SYDNEY",
        "valid ABN, no word": f"DIRECT DEBIT {numbers.abn()}",
        "valid card, other word": f"{word} {numbers.card()}",
        "random 9 digits": f"transfer {digits(9)}",
        "random 9 digits, TFN": f"TFN {digits(9)}",
        "random 11 digits": f"{digits(2)} {digits(3)} {digits(3)} {digits(3)}",
        "random 16 digits": f"booking made {digits(16)}",
        "random 16 digits in groups": grouped(digits(16)),
        "epoch": f"synced at {chance.randrange(1_500_000_000_000, 1_800_000_000_000)}",
        "UUID": f"account {digits(8)}-{digits(4)}-4{digits(3)}-8{digits(3)}-{digits(12)}",
        "masked": f"card **** **** **** {digits(4)}, account xxxxx{digits(3)}",
        "BSB alone": f"branch {numbers.bsb()}, member since {year}",
        "ACN": f"ACN {grouped(numbers.tfn().zfill(9))}",
    }


def written(numbers: Numbers, rule: str, template: str) -> str:
    number = {
        "tfn-in-text": numbers.tfn,
        "abn-in-text": numbers.abn,
        "card-in-text": numbers.card,
        "account-in-text": numbers.account,
    }[rule]()
    bsb = numbers.bsb()
    spellings = {"{n}": number, "{b}": bsb, "{s}": bsb.replace("-", "")}
    if rule != "account-in-text":
        spellings |= {f"{{{letter}}}": grouped(number, gap) for letter, gap in zip("ghd", " -.", strict=True)}
    for place, spelling in spellings.items():
        template = template.replace(place, spelling)
    return template
