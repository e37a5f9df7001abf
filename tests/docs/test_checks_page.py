"""The reference of checks says what the rules say."""

from __future__ import annotations

import re

from checks_page import PAGE, made

from taaxdog_datamig.validation import RULES


async def test_the_page_is_made_from_the_rules(database):
    assert PAGE.read_text("utf-8") == await made(database), "run `nox -s reference`"


def test_every_rule_has_a_section_with_meaning_and_remedy():
    text = PAGE.read_text("utf-8")
    sections = dict(re.findall(r"^### `(.+?)`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == {rule.id for rule in RULES}
    for rule in RULES:
        assert rule.meaning in sections[rule.id]
        assert rule.remedy in sections[rule.id]
        assert "Looks at" in sections[rule.id]
