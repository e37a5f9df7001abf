"""Databases for the fault tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from shouting import fill

Template = Callable[[str, Callable[[str], Awaitable[None]]], str]


@pytest.fixture
def words(template_database: Template, database_from: Callable[[str], str]) -> str:
    """The URL of a database with table `words`."""
    return database_from(template_database("words", fill))


@pytest.fixture
def more_words(template_database: Template, database_from: Callable[[str], str]) -> Callable[[], str]:
    """More of them: each call makes one."""
    return lambda: database_from(template_database("words", fill))
