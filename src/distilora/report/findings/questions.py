"""Plain sentences on what won and by how much, and on what the numbers cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from distilora.evaluation.suites.records import Change
from distilora.report.findings.beyond_scores import dearest_noise, lost_groups, trust
from distilora.report.findings.cautions import (
    few_seeds,
    limits_of_evidence,
    scarce_classes,
    suspicious_methods,
    troubled_trainings,
    void_methods,
)
from distilora.report.findings.costs import cost_sentence
from distilora.report.findings.pairs import against_teacher, between_methods, gap_words, is_within_seeds
from distilora.report.records import BASELINES, TFIDF, Comparison, MethodRow
from distilora.report.sections.recommendation import choice_sentence
from distilora.report.wording import first_of, listed, number, points, points_span, printable, span


class Finding(NamedTuple):
    """One thing that was found; its text can be understood without the question."""

    question: str
    """That it answers, or a word on what it is about."""
    text: str


def findings(comparison: Comparison) -> list[str]:
    """Return what a comparison shows, one sentence or two an entry, the most important first.

    Points are 100 times macro-F1. A difference counts as found only where p, corrected for all pairs of methods, is
    below 0.05.
    """
    found = comparison.recommendation
    choice = [] if found is None else [choice_sentence(comparison, found)]
    return [*choice, *(one.text for one in answered(comparison)), *limits_of_evidence(comparison)]


def answered(comparison: Comparison) -> list[Finding]:
    """Return the findings but the choice and the limits of all, each with the question that it answers.

    Which is best, whether students differ, whether LoRA differs from them, what is lost against the teacher and what
    each costs come first and in this order.
    """
    return [
        Finding("Which is best?", _winner(comparison)),
        *(Finding(question, text) for question, text in between_methods(comparison)),
        *_asked("Is anything lost against the teacher?", against_teacher(comparison)),
        *_asked("What does each cost?", cost_sentence(comparison)),
        *_asked("Was a large model needed?", *_against_tfidf(comparison)),
        *_asked("Does it hurt a class or a group?", *_hurt(comparison)),
        *_asked("How far can it be trusted?", *trust(comparison), *dearest_noise(comparison)),
        *(Finding("Beware", text) for text in _beware(comparison)),
    ]


def _beware(comparison: Comparison) -> list[str]:
    return [
        *void_methods(comparison),
        *suspicious_methods(comparison),
        *troubled_trainings(comparison),
        *scarce_classes(comparison),
        *few_seeds(comparison),
    ]


def _asked(question: str, *texts: str | None) -> list[Finding]:
    """Return one finding of all texts that there are; nothing where there is none."""
    known = [text for text in texts if text]
    return [Finding(question, " ".join(known))] if known else []


def _winner(comparison: Comparison) -> str:
    best = comparison.row(comparison.best)
    if best is None or best.macro_f1 is None:
        return "No method that was trained has a score, so there is nothing to compare."
    name, contenders = printable(best.method), comparison.contenders
    if len(comparison.candidates) == 1:
        return f"{name} is the only method with a score: macro-F1 {number(best.macro_f1.mean)}{_in_brackets(best)}."
    sentence = f"{name} has the highest macro-F1 on the test rows, {number(best.macro_f1.mean)}{_in_brackets(best)}"
    if contenders:
        level = listed(first_of([row.method for row in contenders]))
        return f"No method is shown to be the best: {sentence}, but no difference was found to {level}."
    return f"{sentence}{_lead(comparison, best)}."


def _in_brackets(row: MethodRow) -> str:
    interval = row.macro_f1.interval if row.macro_f1 else None
    return f" (95 % interval {span(interval)})" if interval else ""


def _lead(comparison: Comparison, best: MethodRow) -> str:
    """Return how far a method that is shown to be the best is ahead of the next one, seen from the best."""
    runner_up = next((row for row in comparison.candidates if row.method != best.method), None)
    lead = comparison.difference(best.method, runner_up.method) if runner_up else None
    if runner_up is None or lead is None or lead.interval is None:
        return ""
    doubt = ", but seeds of one method vary by as much" if is_within_seeds(lead, best, runner_up) else ""
    return (
        f". Every other is behind it by more than chance in the rows, the next, {printable(runner_up.method)}, by "
        f"{points(lead.value, signed=False)} points (95 % interval {points_span(lead.interval)}){doubt}"
    )


def _against_tfidf(comparison: Comparison) -> list[str]:
    tfidf = comparison.row(TFIDF)
    if tfidf is None or tfidf.macro_f1 is None:
        missing = "Without a TF-IDF baseline it is not known whether a large model was needed."
        return [missing] if comparison.candidates else []
    behind = [row for row in comparison.candidates if "not above tfidf" in row.flags]
    level = [row for row in comparison.candidates if row not in behind and row.to_tfidf and not row.to_tfidf.is_shown]
    sentences = []
    if behind:
        first, *others = behind
        more = "".join(f"; nor is {one}" for one in map(_beside_tfidf, others))
        sentences.append(
            f"{printable(first.method)} is not above {BASELINES[TFIDF]} in macro-F1{_to_tfidf(first)}{more}."
        )
    if level:
        ahead = [row for row in comparison.candidates if row.to_tfidf and row not in behind and row not in level]
        if ahead:
            sentences.append(f"Above {BASELINES[TFIDF]} by more than chance in the rows: {_gaps(ahead)}.")
        sentences.append(f"Ahead of {BASELINES[TFIDF]}, but no difference was found: {_gaps(level)}.")
    if not behind and not level and comparison.candidates:
        sentences.append(
            f"Every method with a score is above {BASELINES[TFIDF]} in macro-F1 ({number(tfidf.macro_f1.mean)}), "
            "each by more than chance in the rows."
        )
    return sentences


def _gaps(rows: Sequence[MethodRow]) -> str:
    return "; ".join(first_of([_beside_tfidf(row) for row in rows]))


def _beside_tfidf(row: MethodRow) -> str:
    return f"{printable(row.method)}{_to_tfidf(row)}"


def _to_tfidf(row: MethodRow) -> str:
    return f" ({gap_words(row.to_tfidf)})" if row.to_tfidf else ""


def _hurt(comparison: Comparison) -> list[str]:
    """Return which class or group lost, or that no such loss was found where classes or groups were looked at."""
    lost = lost_groups(comparison)
    looked = any(row.class_changes for row in comparison.methods)
    if lost or not looked:
        return lost
    if any(change.is_shown and change.value < 0 for change in _group_changes(comparison)):
        return ["For one method by itself a loss in a group is found, but not once all methods are counted."]
    what = "class, or in any group that was asked" if comparison.suites else "class"
    return [f"No loss against the teacher was found in any {what}. That does not show that there is none."]


def _group_changes(comparison: Comparison) -> list[Change]:
    return [change for suite in comparison.suites for model in suite.models for change in model.changes]
