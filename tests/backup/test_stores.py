"""Every store keeps the same promises: an object is whole or not there, and what goes wrong is said."""

from __future__ import annotations

import os
import secrets
import sys

import pytest

from taaxdog_datamig import Settings
from taaxdog_datamig.backup import DirectoryStore, Policy, store_of
from taaxdog_datamig.errors import BackupError, DatamigError, SettingsError
from tests.backup.conftest import SECRET, asked, manager_of

#: More than two pieces of an upload.
LARGE = 20 << 20


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    """A new `backup_dir` of each kind."""
    if request.param == "folder":
        return tmp_path / "backups"
    request.getfixturevalue("s3")
    return f"s3://backups/{secrets.token_hex(4)}/deep"


@pytest.fixture
def store(place):
    return store_of(Settings(backup_dir=place))


def put(store, name, *pieces):
    with store.writer(name) as write:
        for piece in pieces:
            write(piece)


def fail(store, name, size):
    with store.writer(name) as write:
        write(os.urandom(size))
        raise ZeroDivisionError


@pytest.mark.parametrize("size", [0, 1, 1_000_000, 8 << 20, LARGE])
def test_what_was_written_is_read(store, size):
    content = os.urandom(size)
    put(store, "one/data/1.copy", *(content[at : at + 700_001] for at in range(0, size, 700_001)))
    assert b"".join(store.read("one/data/1.copy")) == content
    assert store.sizes() == {"one/data/1.copy": size}


def test_pieces_are_handed_on_as_they_come(store):
    put(store, "one/large", bytes(LARGE))
    pieces = [len(piece) for piece in store.read("one/large")]
    assert sum(pieces) == LARGE
    assert max(pieces) <= 4 << 20


def test_an_object_is_not_there_before_it_is_whole(store):
    with store.writer("one/x") as write:
        write(os.urandom(LARGE))
        assert "one/x" not in store.sizes()
    assert store.sizes() == {"one/x": LARGE}


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_writer_that_fails_leaves_nothing_and_the_old_object_stays(store, size):
    put(store, "one/x", b"old")
    for name in ("one/x", "one/y"):
        with pytest.raises(ZeroDivisionError):
            fail(store, name, size)
    assert store.sizes() == {"one/x": 3}
    assert b"".join(store.read("one/x")) == b"old"


def test_an_upload_that_fails_is_aborted(s3):
    store = store_of(Settings(backup_dir="s3://backups/aborted"))
    with pytest.raises(ZeroDivisionError):
        fail(store, "x", LARGE)
    assert b"<Upload>" not in asked(f"{s3}/backups?uploads")


def test_a_prefix_is_of_names_and_the_rest_is_not_touched(store):
    for name in ("one/a", "one/data/b", "one-more/a", "two/a"):
        put(store, name, b"x")
    assert set(store.sizes("one/")) == {"one/a", "one/data/b"}
    assert set(store.sizes("one/data/")) == {"one/data/b"}
    assert set(store.sizes("one/a")) == {"one/a"}
    assert set(store.sizes("one")) == {"one/a", "one/data/b", "one-more/a"}
    assert store.sizes("three/") == {}
    for name in ("one/a", "one/data/b", "one/data/b"):
        store.delete(name)
    assert set(store.sizes()) == {"one-more/a", "two/a"}


def test_what_is_not_there_cannot_be_read(store):
    with pytest.raises(BackupError, match=r"cannot read .*one/x"):
        list(store.read("one/x"))


async def test_a_backup_is_made_listed_verified_and_let_go_of(place, pristine):
    async with manager_of(pristine, place) as manager:
        made = await manager.create(tables=["users", "goals"], name="first")
        assert (await manager.verify("first")).verified is not None
        assert [record.state for record in await manager.list()] == ["complete"]
        await manager.hold(made.id, "audit")
        assert (await manager.list())[0].hold == "audit"
        held = await manager.hold(made.id, None)
        assert (held.hold, held.path) == ("", f"{manager.store.address}/{made.id}")
        put(manager.store, "20200101T000000Z-00000000/data/1.0.copy.zst", b"of a process that was killed")
        assert [record.state for record in await manager.list()] == ["complete", "incomplete"]
        await manager.clean(Policy(keep=1), apply=True)
        assert [record.id for record in await manager.list()] == [made.id]
        manager.shelf.delete(made.id)
        assert await manager.list() == []
        assert manager.store.sizes() == {}


def refusal(place, do):
    """What is said, which holds no secret."""
    with pytest.raises(DatamigError) as caught:
        do(store_of(Settings(backup_dir=place)))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


USES = {
    "write": lambda store: put(store, "x", b"x"),
    "write much": lambda store: put(store, "x", *[bytes(5 << 20)] * 5),
    "read": lambda store: list(store.read("x")),
    "list": lambda store: store.sizes(),
    "delete": lambda store: store.delete("x"),
}


@pytest.mark.parametrize("use", [use for use in USES if use != "delete"])
def test_a_bucket_that_is_not_there_is_named(s3, use):
    said = refusal("s3://no-such-bucket/x", USES[use])
    assert "s3://no-such-bucket/x" in said
    assert "NoSuchBucket" in said
    assert "Create the bucket" in said


@pytest.mark.parametrize("use", USES)
def test_wrong_credentials_are_said_to_be_wrong(s3, use):
    asked(f"{s3}/moto-api/reset-auth", "POST", b"0")
    try:
        said = refusal("s3://backups/x", USES[use])
    finally:
        asked(f"{s3}/moto-api/reset-auth", "POST", b"inf")
    assert "InvalidAccessKeyId" in said
    assert "AWS_*" in said


@pytest.mark.parametrize("use", ["write", "list"])
def test_a_server_that_does_not_answer_is_said_to_be_silent(s3, monkeypatch, use):
    monkeypatch.setattr("taaxdog_datamig.backup.objects._RETRIES", {"max_retries": 1})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "no answer from the server. Look at the network" in refusal("s3://backups/x", USES[use])


def test_without_the_extra_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    assert "pip install 'taaxdog-datamig[stores]'" in refusal("s3://backups/x", USES["list"])


@pytest.mark.parametrize(
    "url",
    ["ftp://x/y", "s3://", f"s3://id:{SECRET}@backups/x", f"https://x.blob.core.windows.net/y?sig={SECRET}"],
)
def test_a_url_that_is_none_of_a_store_or_holds_credentials_is_refused_and_not_shown(url):
    assert "backup_dir" in refusal(url, USES["list"])


def test_a_url_keeps_its_slashes_and_a_folder_is_a_path(tmp_path):
    for environ in ({"BACKUP_DIR": "s3://bucket/a"}, {"BACKUP_DIR": "gs://bucket/a"}):
        assert Settings.load(environ=environ).backup_dir == environ["BACKUP_DIR"]
    folder = Settings.load(environ={"BACKUP_DIR": str(tmp_path)})
    assert store_of(folder) == DirectoryStore(tmp_path)
    with pytest.raises(SettingsError, match="as text"):
        Settings(backup_dir=tmp_path.__class__("s3://bucket/a"))


@pytest.mark.parametrize(
    "url", ["gs://bucket/prefix", "abfss://container@account.dfs.core.windows.net/prefix"]
)
def test_the_other_stores_are_known_by_their_urls(url, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    store = store_of(Settings(backup_dir=url))
    assert store.address == url
