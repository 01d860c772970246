#!/usr/bin/env python3
"""Reads and writes crmguard's formats with nothing of crmguard.

  formats.py vectors            recompute every published vector
  formats.py read  INDEX.json   open the installation that a Go test has made
  formats.py write INDEX.json   add to it what a Go test must open
  formats.py alone FOLDER       take what a Go test has made of a secret there, and make the same

Only the standard library and the cryptography package are used. A second
program that agrees byte for byte is what makes the formats a promise. The
parts are in the folder formats, by the chapters of formats.md.
"""

import sys

sys.dont_write_bytecode = True

from formats import alone, reading, vectors, writing  # noqa: E402

if __name__ == "__main__":
    if sys.argv[1:] == ["vectors"]:
        vectors.run()
    elif len(sys.argv) == 3 and sys.argv[1] == "read":
        reading.run(sys.argv[2])
    elif len(sys.argv) == 3 and sys.argv[1] == "write":
        writing.run(sys.argv[2])
    elif len(sys.argv) == 3 and sys.argv[1] == "alone":
        alone.run(sys.argv[2])
    else:
        sys.exit(__doc__)
