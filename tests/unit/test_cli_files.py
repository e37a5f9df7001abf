"""Files of the command line: whole or not at all, and refused before the work where that can be told."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.exits import Unwritten
from taaxdog_datamig_cli.files import refuse_unwritable, write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "report.json"
    write_whole(path, "old")
    write_whole(path, "new é\n")
    assert path.read_bytes() == "new é\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "report.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "a" * 100_000 + "\udcff")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_gone_is_an_error_in_one_sentence(tmp_path):
    with pytest.raises(Unwritten, match=r"cannot write .*report\.json: No such file or directory"):
        write_whole(tmp_path / "gone" / "report.json", "x")


def test_permissions_are_those_of_a_new_file_or_of_the_old_one(tmp_path):
    path = tmp_path / "report.json"
    before = os.umask(0o027)
    try:
        write_whole(path, "x")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o604)
    write_whole(path, "y")
    assert path.stat().st_mode & 0o777 == 0o604


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_or_device_is_written_to_and_not_replaced(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "x")
    reader.join(10)
    assert got == ["x"]
    assert pipe.is_fifo()


def test_names_as_long_as_the_file_system_allows_are_written(tmp_path):
    path = tmp_path / ("é" * 125 + ".json")
    write_whole(path, "x")
    assert path.read_text() == "x"


@pytest.mark.parametrize(
    ("name", "complaint"), [(".", "it is a folder"), ("gone/x.html", "there is no folder .*gone")]
)
def test_what_could_not_be_written_is_refused_early(tmp_path, monkeypatch, name, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=complaint):
        refuse_unwritable(Path(name))
