from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from db.pool import is_unavailable, unavailable
from domain.errors import DatabaseUnavailable


@pytest.mark.parametrize(
    "error",
    [
        errors.AdminShutdown(), errors.QueryCanceled(), errors.DiskFull(), errors.IoError(),
        errors.InternalError_(),
        errors.DeadlockDetected(), errors.ReadOnlySqlTransaction(), errors.IdleInTransactionSessionTimeout(),
        errors.TooManyConnections(), psycopg.OperationalError("the connection is lost"),
    ],
)  # fmt: skip
def test_what_speaks_of_the_server_may_work_later(error: psycopg.Error) -> None:
    assert is_unavailable(error)
    with pytest.raises(DatabaseUnavailable), unavailable("doing it"):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        errors.UniqueViolation(), errors.CheckViolation(), errors.NumericValueOutOfRange(), errors.UndefinedTable(),
        errors.InsufficientPrivilege(), errors.ProgramLimitExceeded(),
    ],
)  # fmt: skip
def test_what_speaks_of_the_statement_does_not(error: psycopg.Error) -> None:
    assert not is_unavailable(error)
    assert not is_unavailable(ValueError())
