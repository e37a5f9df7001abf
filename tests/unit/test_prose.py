"""Numbers in prose and JSON: what is one, and the many things that only look like one.

All numbers are published test numbers, or made invalid on purpose.
"""

from __future__ import annotations

import json

import pytest

from taaxdog_datamig.identifiers import prose

FOUND = {
    "tfn": [
        "ATO PAYMENT TFN 123 456 782",
        "tax file number 876543210 given by phone",
        "TFN:123456782",
        "TFN123456782",
        "my TFN is 123-456-782.",
        "TFN\u00a0123\u00a0456\u00a0782",
        "123 456 782 is my TFN, call me on 0412 345 678",
        "(TFN 37 118 629)",
        "GET /returns?tfn=37118629&year=2024",
        "Tax file no. 648188499",
        "T.F.N. 648188527",
        "TFN\n648188535",
        "tfn 123456782 01/07/2024",
        "TFN: 987654321 (none), later 123 456 782",
        '{"tfn": "123 456 782"}',
        '{"person": {"taxFileNumber": {"value": 123456782}}}',
        '[{"customerTfn": "123456782"}]',
        '{"tfns": ["none", "123456782"]}',
        '{"log": "{\\"tfn\\": \\"123456782\\"}"}',
        '{"tfn": 1, "tfn": "123456782"}',
        # JSON that hides letters is read as it stands.
        '{"\\u0078": 1, "tfn": "123456782"}',
        # An array of text as PostgreSQL spells it.
        '{"TFN 123 456 782",other}',
    ],
    "abn": [
        "ABN 51824753556",
        "abn51824753556",
        "51 824 753 556",
        "Tax invoice, ABN: 53-004-085-616",
        "ABN and ACN: 53 004 085 616, 004 085 616",
        '{"supplierABN": 51824753556}',
    ],
    "card": [
        "4111 1111 1111 1111",
        "4111111111111111",
        "VISA 4111-1111-1111-1111 exp 12/27",
        "5555555555554444 123",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "3530111333300000",
        "6011111111111117",
        "card 30569309025904",
        "card 4222222222222",
        "Paid 25.00 with 4111 1111 1111 1111",
        '{"card": {"number": "4111111111111111"}}',
        '{"n": 4111111111111111}',
    ],
    "account": [
        "BSB 062-000 account 12345678",
        "transfer to 062-000 12345678 acct",
        "bsb: 062000, acc no: 1234 5678",
        "Account number 12345678 BSB 062-000",
        "a/c 062-000 123456789",
        '{"account_number": "12345678", "name": "x", "bsb": "062-000"}',
    ],
}

NOT_FOUND = [
    "",
    "123 456 782",
    "TFN 123456789",
    "TFN 987654321",
    "ref 123456782",
    "TFN ref 123456782",
    "TFN hotline +61 412 345 678",
    "TFN phone 0412 345 678",
    "TFN not given, ACN 123 456 782",
    "TFN received 20240115",
    "TFN fee 123456782.50",
    "tfn $123456782",
    "TFN/ABN 51 123 456 782",
    "TFN 1234567820",
    "downtfn 123456782",
    "123456782 TFN: 123456789",
    '{"tfn": null, "reference": 123456782}',
    '{"taxpayer": {"tfn": "not given"}, "score": 123456782}',
    "51824753556",
    "ABN 51 824 753 557",
    "phone 61 412 345 678",
    "receipt 51 824 753 556",
    "order 4111111111111111",
    "**** **** **** 1111",
    "4111 1111 1111 1112",
    "4111 1111 1111 1111 1111",
    "txn_4111111111111111",
    "30569309025904",
    "DE89 3704 0044 0532 0130 00",
    "1700000000000",
    "550e8400-e29b-41d4-a716-446655440000",
    '{"id": "4111111111111111"}',
    "account 12345678",
    "062-000 12345678",
    "bsb 062-000",
    "bsb 062-000, invoice 12345678",
    "bsb 062-000, paid $12345.00",
    "account fee 12345678 on 2024-01-01",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_a_number_is_found(kind, text):
    assert kind in prose.find(text)


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_like_a_number_is_not_found(text):
    assert prose.find(text) == frozenset()


def test_each_kind_is_told_apart_in_one_text():
    text = "TFN 123 456 782, ABN 51 824 753 556, card 4111 1111 1111 1111, BSB 062-000 account 12345678"
    assert prose.find(text) == {"tfn", "abn", "card", "account"}
    assert prose.find(json.dumps({"a": [text]})) == {"tfn", "abn", "card", "account"}


def test_json_of_any_depth_and_size_is_read():
    deep = '{"a":' * 50_000 + '{"tfn":"123456782"}' + "}" * 50_000
    assert "tfn" in prose.find(deep)
    assert prose.find("[" * 50_000 + "]" * 50_000) == frozenset()
    assert prose.find(json.dumps({str(n): n for n in range(20_000)})) == frozenset()
