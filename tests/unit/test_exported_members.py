from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import taaxdog_datamig


def test_all_is_sorted_and_names_exactly_what_has_a_home():
    assert sorted(taaxdog_datamig.__all__) == sorted(taaxdog_datamig._HOMES)
    assert taaxdog_datamig.__all__ == sorted(taaxdog_datamig.__all__)
    assert set(taaxdog_datamig.__all__) <= set(dir(taaxdog_datamig))


@pytest.mark.parametrize("name", taaxdog_datamig.__all__)
def test_each_name_is_the_thing_itself(name):
    home = importlib.import_module(f"taaxdog_datamig.{taaxdog_datamig._HOMES[name]}")
    thing = home if taaxdog_datamig._HOMES[name] == name else getattr(home, name)
    assert getattr(taaxdog_datamig, name) is thing


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Runer"):
        _ = taaxdog_datamig.Runer


def test_the_import_alone_loads_no_driver_and_the_star_loads_everything():
    program = (
        "import sys, taaxdog_datamig\n"
        "assert not {'asyncpg', 'anyio', 'attrs', 'cryptography'} & sys.modules.keys()\n"
        "from taaxdog_datamig import *\n"
        "assert Runner.__module__ == 'taaxdog_datamig.engine.runner'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
