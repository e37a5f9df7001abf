"""Australian identifiers, one module each: `is_valid(text)` and `normalise(text)`. Pure, no I/O."""

from taaxdog_datamig.identifiers import abn, acn, bsb, phone, postcode, tfn

__all__ = ["abn", "acn", "bsb", "phone", "postcode", "tfn"]
