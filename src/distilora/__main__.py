"""``python -m distilora``: the command line."""

from distilora.cli import main

main()
