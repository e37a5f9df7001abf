"""A damaged backup: whatever was done to it, verification finds it and names the part."""

from __future__ import annotations

import random
import shutil

import pytest

from taaxdog_datamig.errors import BackupError, DatamigError, KeyMissing, KeyWrong, UnknownName

#: One in the suite; the long form, in `nox -s faults`, has a thousand.
FLIPS = 60


async def test_a_whole_backup_verifies(copied, looking):
    manifest, _ = copied
    verified = await looking().verify(manifest.id)
    assert verified.rows == manifest.rows
    assert verified.verified is not None
    assert (await looking().show(manifest.id)).verified == verified.verified


def flip(path, position, bit):
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


async def flipped(manifest, folder, manager, times):
    """Flip a bit anywhere, so many times, each bit alone."""
    chance = random.Random(4)
    files = [path for path in sorted((folder / manifest.id).rglob("*")) if path.is_file()]
    sizes = [path.stat().st_size for path in files]
    for _ in range(times):
        (path,) = chance.choices(files, sizes)
        position, bit = chance.randrange(path.stat().st_size), chance.randrange(8)
        flip(path, position, bit)
        with pytest.raises(DatamigError) as caught:
            await manager.verify(manifest.id)
        name = path.relative_to(folder / manifest.id)
        assert str(name) in caught.value.what, (name, position, bit)
        flip(path, position, bit)


async def test_a_flipped_bit_anywhere_is_found_and_the_part_named(copied, looking):
    await flipped(*copied, looking(), FLIPS)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_each_of_a_thousand_flipped_bits_is_found(copied, looking):
    await flipped(*copied, looking(), 1_000)


@pytest.mark.parametrize("keep", [0, 40, 56, 56 + 16_400, -1], ids=lambda keep: f"to {keep}")
async def test_a_part_that_was_cut_short_is_found(copied, looking, keep):
    manifest, folder = copied
    part = max(manifest.parts.values(), key=lambda part: part.size)
    path = folder / manifest.id / part.name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BackupError, match=part.name):
        await looking().verify(manifest.id)


async def test_parts_that_changed_places_are_found(copied, looking):
    manifest, folder = copied
    first, second = (folder / manifest.id / name for name in sorted(manifest.parts)[:2])
    other = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(other)
    with pytest.raises(BackupError, match=first.name):
        await looking().verify(manifest.id)


async def test_a_part_that_is_missing_is_named(copied, looking):
    manifest, folder = copied
    name = next(iter(manifest.parts))
    (folder / manifest.id / name).unlink()
    with pytest.raises(BackupError, match=name):
        await looking().verify(manifest.id)


async def test_a_backup_under_another_name_is_refused(copied, looking):
    manifest, folder = copied
    shutil.move(folder / manifest.id, folder / "20200101T000000Z-00000000")
    with pytest.raises(DatamigError):
        await looking().verify("20200101T000000Z-00000000")


async def test_an_edited_manifest_is_refused(copied, looking):
    manifest, folder = copied
    path = folder / manifest.id / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"rows": 500', b'"rows": 501', 1))
    with pytest.raises(BackupError, match=r"manifest\.json is damaged or was changed"):
        await looking().verify(manifest.id)


async def test_without_the_key_nothing_is_opened(copied, looking):
    manifest, _ = copied
    with pytest.raises(KeyMissing, match=manifest.kid):
        await looking(field_encryption_key=None).verify(manifest.id)
    with pytest.raises(KeyWrong, match=manifest.kid):
        await looking(field_encryption_key="ab" * 16 + "cd" * 16).verify(manifest.id)


async def test_what_is_no_backup_is_said_to_be_none(looking):
    with pytest.raises(UnknownName, match="there is no backup"):
        await looking().verify("20200101T000000Z-00000000")
