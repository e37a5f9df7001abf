"""The keyring: master keys with ids, one of them primary.

A master key never meets data. Each purpose has a subkey, HKDF-SHA256 (RFC 5869, empty salt) under an info
string that names it, so that a ciphertext made for one purpose opens for no other.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taaxdog_datamig.crypto import base64url
from taaxdog_datamig.crypto.field import FieldCipher
from taaxdog_datamig.crypto.keytext import KEY_BYTES, KID, parse_key, parse_keys
from taaxdog_datamig.crypto.legacy import LegacyOpener
from taaxdog_datamig.errors import KeyFormatError, KeyWrong, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.settings import Settings

_NONCE_BYTES: Final = 12
_WRAP_INFO: Final = "taaxdog_datamig/wrap/v1"
_SIGN_INFO: Final = "taaxdog_datamig/manifest/v1"
_CANARY_INFO: Final = "taaxdog_datamig/canary/v1"
_CANARY: Final = b"taaxdog_datamig"
_NOT_PICKLED: Final = "keys are not pickled: every process reads them from its own settings"


def derive_kid(material: bytes) -> str:
    """Name a key that was given no id: `k` and 8 hex digits of a hash, the same on every machine."""
    return "k" + hashlib.sha256(b"taaxdog_datamig/kid/v1|" + material).hexdigest()[:8]


@attrs.frozen
class MasterKey:
    """One master key.

    Raises:
        KeyFormatError: the id has other characters than letters, digits, `_` and `-`, or more than 32;
            or the material is not 32 bytes.
    """

    #: The key's id, as it stands in every token.
    kid: str = attrs.field()
    material: bytes = attrs.field(repr=False)

    @kid.validator
    def _kid_fits(self, _: object, kid: str) -> None:
        if KID.fullmatch(kid) is None:
            raise KeyFormatError("a key id does not fit", "Use 1 to 32 letters, digits, `_` and `-`")

    @material.validator
    def _material_fits(self, _: object, material: bytes) -> None:
        if len(material) != KEY_BYTES:
            raise KeyFormatError(f"key {self.kid} has {len(material)} bytes", f"It must have {KEY_BYTES}")

    def __reduce__(self) -> NoReturn:
        raise TypeError(_NOT_PICKLED)


class Keyring:
    """Several master keys, one primary. Its `repr` shows ids only.

    It cannot be pickled or copied: a pickle is material at rest, in spill files and message queues that
    nobody guards as keys. A worker process builds its own from its own settings.
    """

    def __init__(self, keys: Sequence[MasterKey], legacy: LegacyOpener) -> None:
        if not keys:
            raise KeyFormatError(
                "a keyring needs at least one key", "`datamig keys generate` prints a new one"
            )
        for place, key in enumerate(keys):
            for earlier in keys[:place]:
                if key.kid == earlier.kid:
                    raise KeyFormatError(f"two keys have the id {key.kid}", "Give each an id of its own")
                if key.material == earlier.material:
                    raise KeyFormatError(f"keys {earlier.kid} and {key.kid} are the same key", "Remove one")
        self._keys = {key.kid: key for key in keys}
        #: The key that seals.
        self.primary = keys[0]
        #: Ids of all keys, the primary first.
        self.kids = tuple(self._keys)
        self._legacy = legacy
        self._fields: dict[tuple[str, str], FieldCipher] = {}
        self._cipher = lru_cache(maxsize=None)(self._make_cipher)

    @classmethod
    def of(cls, *keys: MasterKey, legacy: Sequence[bytes] = ()) -> Keyring:
        """Make a keyring of keys at hand; the first is primary.

        Args:
            keys: at least one.
            legacy: further keys, 32 bytes each, tried on values the application sealed itself.

        Raises:
            KeyFormatError: no key, or two with the same id or material.
        """
        return cls(keys, LegacyOpener([*(key.material for key in keys), *legacy]))

    @classmethod
    def from_settings(cls, settings: Settings) -> Keyring | None:
        """Make the keyring that the settings describe; None when they name no key to seal with.

        FIELD_ENCRYPTION_KEYS rules; FIELD_ENCRYPTION_KEY beside it is added for reading.
        FIELD_ENCRYPTION_LEGACY_KEY alone makes no keyring: it only ever opens the application's values.

        Raises:
            KeyFormatError: a key is in no accepted spelling, a placeholder, or there twice.
        """
        named: list[tuple[str | None, bytes]] = []
        if settings.field_encryption_keys is not None:
            named += parse_keys(settings.field_encryption_keys, "FIELD_ENCRYPTION_KEYS")
        if settings.field_encryption_key is not None:
            single = parse_key(settings.field_encryption_key, "FIELD_ENCRYPTION_KEY")
            if all(single != material for _, material in named):
                named.append((None, single))
        if not named:
            return None
        keys = [MasterKey(kid or derive_kid(material), material) for kid, material in named]
        legacy = LegacyOpener([key.material for key in keys], settings.field_encryption_legacy_key)
        return cls(keys, legacy)

    def __repr__(self) -> str:
        return f"Keyring(primary={self.primary.kid!r}, kids={self.kids!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(_NOT_PICKLED)

    def field(self, table: str, column: str) -> FieldCipher:
        """Return the cipher of a column, by logical names. The same object at every call.

        Raises:
            UsageError: a name holds `|`, which separates them in the subkey's info.
        """
        found = self._fields.get((table, column))
        if found is None:
            if "|" in table or "|" in column:
                raise UsageError("a logical name of the profile holds `|`", "Choose another name")
            info = f"taaxdog_datamig/field/v1|{table}|{column}"
            ciphers = {kid: self._cipher(kid, info) for kid in self.kids}
            found = self._fields[table, column] = FieldCipher(table, column, ciphers, self._legacy)
        return found

    def wrap(self, data_key: bytes, context: str) -> tuple[str, bytes]:
        """Seal a run's data key under the primary key.

        Args:
            data_key: the key to keep.
            context: what it belongs to, such as the run's id; it must be given again to unwrap.

        Returns:
            The primary key's id, and `nonce12 || ciphertext || tag16`.
        """
        kid = self.primary.kid
        nonce = os.urandom(_NONCE_BYTES)
        return kid, nonce + self._cipher(kid, _WRAP_INFO).encrypt(nonce, data_key, context.encode())

    def unwrap(self, kid: str, wrapped: bytes, context: str) -> bytes:
        """Open what `wrap` sealed.

        Raises:
            KeyWrong: the key is not in the keyring, or does not open it in this context.
        """
        self._require(kid)
        try:
            return self._cipher(kid, _WRAP_INFO).decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context.encode()
            )
        except (InvalidTag, ValueError):  # ValueError: cut shorter than a nonce
            raise KeyWrong(
                f"the data key of {context} does not open under key {kid}",
                "Configure the key that the run was made with: the id is the same, the key is not",
            ) from None

    def sign(self, kid: str, data: bytes) -> bytes:
        """HMAC-SHA256 of a manifest under a subkey of key `kid`: 32 bytes.

        Raises:
            KeyWrong: the key is not in the keyring.
        """
        self._require(kid)
        return hmac.digest(self._subkey(kid, _SIGN_INFO), data, "sha256")

    def canary(self, kid: str) -> str:
        """Make a text that proves, later, that key `kid` is still the same key.

        Raises:
            KeyWrong: the key is not in the keyring.
        """
        self._require(kid)
        nonce = os.urandom(_NONCE_BYTES)
        return base64url.encode(nonce + self._cipher(kid, _CANARY_INFO).encrypt(nonce, _CANARY, kid.encode()))

    def opens_canary(self, kid: str, canary: str) -> bool:
        """Tell whether the key `kid` of this keyring is the one that made the canary."""
        data = base64url.decode(canary)
        if data is None or kid not in self._keys:
            return False
        try:
            cipher = self._cipher(kid, _CANARY_INFO)
            return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], kid.encode()) == _CANARY
        except (InvalidTag, ValueError):
            return False

    def _require(self, kid: str) -> None:
        if kid not in self._keys:
            raise KeyWrong(
                f"key {kid} is not configured; there are {', '.join(self.kids)}",
                "Add it to FIELD_ENCRYPTION_KEYS",
            )

    def _make_cipher(self, kid: str, info: str) -> AESGCM:
        return AESGCM(self._subkey(kid, info))

    def _subkey(self, kid: str, info: str) -> bytes:
        material = self._keys[kid].material
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info.encode()).derive(material)
