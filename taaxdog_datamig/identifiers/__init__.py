"""Australian identifiers, one module each: `is_valid(text)` and `normalise(text)`. Pure, no I/O."""

from taaxdog_datamig.identifiers import abn, account_number, acn, bsb, phone, postcode, tfn

__all__ = ["abn", "account_number", "acn", "bsb", "phone", "postcode", "tfn"]
