"""Keys, field tokens and sealed blobs. Pure: no database, no files, no environment."""

from taaxdog_datamig.crypto import predicates
from taaxdog_datamig.crypto.field import FieldCipher, Found, FoundKind, PrimaryKey
from taaxdog_datamig.crypto.keyring import Keyring, MasterKey, derive_kid
from taaxdog_datamig.crypto.keytext import generate_key
from taaxdog_datamig.crypto.seal import BlobSealer, Digester, digest, new_data_key

__all__ = [
    "BlobSealer",
    "Digester",
    "FieldCipher",
    "Found",
    "FoundKind",
    "Keyring",
    "MasterKey",
    "PrimaryKey",
    "derive_kid",
    "digest",
    "generate_key",
    "new_data_key",
    "predicates",
]
