from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from taaxdog_datamig import errors

ALL = [
    kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.DatamigError)
]


def drawn() -> dict[str, str | None]:
    """The tree of the module's docstring: name to the name of its parent."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ((?:│   |    )*)(?:[├└]── )?([A-Z]\w+)", line):
            depth = len(match[1]) // 4 + ("── " in line)
            path[depth:] = [match[2]]
            parents[match[2]] = path[depth - 1] if depth else None
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    classes = {kind.__name__: kind.__base__.__name__ for kind in ALL if kind is not errors.DatamigError}
    assert drawn() == {"DatamigError": None, **classes}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("todo", ["", "Do that"])
def test_errors_survive_pickling_and_copying_and_say_what_and_what_to_do(kind, todo):
    error = kind("it happened", todo)
    assert str(error) == ("it happened. Do that" if todo else "it happened")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is kind
        assert (twin.what, twin.todo, str(twin)) == (error.what, error.todo, str(error))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_says_in_its_docstring_what_it_means(kind):
    assert kind.__dict__.get("__doc__")
