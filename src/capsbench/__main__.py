"""`python -m capsbench`: the command line without its script."""

from capsbench.cli import main

main()
