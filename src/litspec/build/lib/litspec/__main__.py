"""`python -m litspec`."""

from litspec.cli import main

main()
