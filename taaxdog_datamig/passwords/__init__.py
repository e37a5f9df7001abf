"""Password hashes: recognise, wrap, verify, upgrade, reset. Pure: no database, no files, no environment.

A hash cannot be turned into bcrypt without the password. What can be done is to hash the old digest once
more, and to remember how it was made: `wrap`. `verify` then accepts the password the user always had, and
`needs_rehash` says when to put a plain modern hash in its place: at the next login, when the password is
at hand. The wrapped form is specified, with a reader in JavaScript, in docs/reference/password-hashes.md.

Passwords are text and are hashed as UTF-8, as they are, without normalisation. No function here puts a
password, a hash, a salt or a pepper into an error or a `repr`.
"""

from taaxdog_datamig.passwords.costs import CHEAPEST_COST, DEFAULT_COST, Cost, Scheme
from taaxdog_datamig.passwords.hashing import hash_password
from taaxdog_datamig.passwords.legacy import LegacyForm
from taaxdog_datamig.passwords.pepper import Pepper
from taaxdog_datamig.passwords.recognition import Kind, Recognised, recognise
from taaxdog_datamig.passwords.reset import RESET_LIFETIME, ResetToken, new_reset_token, unusable
from taaxdog_datamig.passwords.verification import needs_rehash, verify
from taaxdog_datamig.passwords.wrapping import wrap

__all__ = [
    "CHEAPEST_COST",
    "DEFAULT_COST",
    "RESET_LIFETIME",
    "Cost",
    "Kind",
    "LegacyForm",
    "Pepper",
    "Recognised",
    "ResetToken",
    "Scheme",
    "hash_password",
    "needs_rehash",
    "new_reset_token",
    "recognise",
    "unusable",
    "verify",
    "wrap",
]
