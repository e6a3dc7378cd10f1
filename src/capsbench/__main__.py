"""`python -m capsbench`: the command line without its script."""

from capsbench.cli import main

if __name__ == "__main__":  # workers in processes of their own import this file again
    main()
