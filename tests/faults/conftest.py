"""Databases for the fault tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

pytest.register_assert_rewrite("campaign", "shouting")

from shouting import fill  # noqa: E402 - once its assertions explain themselves

Template = Callable[[str, Callable[[str], Awaitable[None]]], str]


@pytest.fixture
def words(template_database: Template, database_from: Callable[[str], str]) -> str:
    """The URL of a database with table `words`."""
    return database_from(template_database("words", fill))


@pytest.fixture
def more_words(template_database: Template, database_from: Callable[[str], str]) -> Callable[[], str]:
    """More of them: each call makes one."""
    return lambda: database_from(template_database("words", fill))
