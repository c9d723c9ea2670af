"""``python -m distilora.cli``."""

from distilora.cli import main

main()
