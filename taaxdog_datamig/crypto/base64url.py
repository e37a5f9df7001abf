"""Base64url without padding, in exactly one spelling.

Python's decoders accept padding, whitespace, the other alphabet and stray trailing bits; a token must
not have two spellings, so all of these are refused.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

_TO_URL = bytes.maketrans(b"+/", b"-_")
#: Characters of the standard alphabet become ones that no alphabet has, so that they are refused.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", b"===", b"==", b"=")
#: Last characters whose unused bits are zero, by the length of the last group.
_LAST = {2: "AQgw", 3: "AEIMQUYcgkosw048"}


def encode(data: bytes) -> str:
    """Spell bytes in the URL alphabet, without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode()


def decode(text: str) -> bytes | None:
    """Read what `encode` wrote; None for anything that `encode` would not have written."""
    rest = len(text) & 3
    if rest and text[-1] not in _LAST.get(rest, ""):
        return None
    try:
        return a2b_base64(text.encode("ascii").translate(_TO_STANDARD) + _PADDING[rest], strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are both of this kind
        return None
