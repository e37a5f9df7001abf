"""`python -m taaxdog_datamig` is the command line. The one module that may import it."""

from __future__ import annotations

from taaxdog_datamig_cli.door import main

if __name__ == "__main__":
    raise SystemExit(main())
