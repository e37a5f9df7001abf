from __future__ import annotations

import itertools
import random

import asyncpg
import pytest

from taaxdog_datamig.pg.retry import Backoff, Fault, classify, describe, refused, sqlstate


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (asyncpg.DeadlockDetectedError(""), Fault.COLLISION),
        (asyncpg.SerializationError(""), Fault.COLLISION),
        (asyncpg.QueryCanceledError(""), Fault.COLLISION),
        (asyncpg.InvalidCachedStatementError(""), Fault.COLLISION),
        (asyncpg.LockNotAvailableError(""), Fault.LOCKED),
        (asyncpg.AdminShutdownError(""), Fault.GONE),
        (asyncpg.CannotConnectNowError(""), Fault.GONE),
        (asyncpg.ConnectionDoesNotExistError(""), Fault.GONE),
        (asyncpg.TooManyConnectionsError(""), Fault.GONE),
        (asyncpg.ReadOnlySQLTransactionError(""), Fault.GONE),
        (asyncpg.InterfaceError("connection is closed"), Fault.GONE),
        (ConnectionResetError(), Fault.GONE),
        (TimeoutError(), Fault.GONE),
        (asyncpg.UniqueViolationError(""), Fault.DATA),
        (asyncpg.CheckViolationError(""), Fault.DATA),
        (asyncpg.StringDataRightTruncationError(""), Fault.DATA),
        (asyncpg.RaiseError(""), Fault.DATA),
        (asyncpg.InsufficientPrivilegeError(""), Fault.FATAL),
        (asyncpg.DiskFullError(""), Fault.FATAL),
        (asyncpg.UndefinedColumnError(""), Fault.FATAL),
        (asyncpg.InterfaceError("another operation is in progress"), Fault.FATAL),
        (ZeroDivisionError(), Fault.FATAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value.name,
)
def test_each_error_is_somebodys_fault(error, fault):
    assert classify(error) is fault


def test_what_the_server_said_is_told_without_the_row_it_quotes():
    error = asyncpg.UniqueViolationError("Key (tfn)=(123456782) already exists")
    error.constraint_name, error.table_name = "users_tfn_key", "users"
    assert describe(error) == "UniqueViolation (23505) on constraint users_tfn_key, table users"
    refusal = refused(asyncpg.DiskFullError("could not extend 123456782"), "writing")
    assert "123456782" not in str(refusal)
    assert str(refusal).startswith("writing: the server's disk is full (53100). Free space")
    assert sqlstate(ValueError("123456782")) == "ValueError"


def test_waits_grow_to_the_cap_and_are_never_nothing():
    waits = list(itertools.islice(Backoff(random=random.Random(1)).delays(), 40))
    for number, wait in enumerate(waits):
        limit = min(3.0, 0.05 * 2**number)
        assert limit / 2 <= wait <= limit
    assert len(set(waits)) == len(waits)
