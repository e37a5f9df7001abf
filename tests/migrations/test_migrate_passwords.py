"""migrate-passwords: the digests are gone, and everybody still gets in with the password of before."""

from __future__ import annotations

from cycle import cycle

from taaxdog_datamig.demo.slots import FAULTS, SAMPLE_PASSWORD
from taaxdog_datamig.passwords import recognise, verify
from tests.sample import USERS, rows

NAME = "migrate-passwords"
CHEAP = {"cost": "4"}
SLOTS = {slot.name: slot.count(USERS) for slot in FAULTS if slot.table == "users"}
LEGACY = sum(SLOTS[f"password_{name}"] for name in ("md5", "sha1", "sha256", "sha512"))
UNKNOWN = SLOTS["password_unknown"]


async def passwords(dsn):
    return dict(await rows(dsn, "SELECT id, password FROM users"))


async def test_there_and_back(sample):
    before = await passwords(sample)

    async def after(dsn):
        now = await passwords(dsn)
        for key, stored in now.items():
            if recognise(before[key]).kind != "legacy":
                assert stored == before[key]
                continue
            assert recognise(stored).scheme == "wrapped-bcrypt"
            assert verify(stored, SAMPLE_PASSWORD)
            assert not verify(stored, SAMPLE_PASSWORD + "x")

    await cycle(sample, NAME, rows=LEGACY, left=UNKNOWN, arguments=CHEAP, after=after)
