"""Model cards: what a person must know of one model before using it, for the folder that is published."""

from __future__ import annotations

from distilora.report.cards.writing import write_cards

__all__ = ["write_cards"]
