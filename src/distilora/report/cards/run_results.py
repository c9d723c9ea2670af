"""What a card tells of a model's results: scores, probabilities, the other methods, cost, hard cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from distilora.evaluation.assessments import AssessedModel
from distilora.evaluation.records import Evaluation
from distilora.evaluation.suites.records import HateCheckScores, IdentityScores
from distilora.evaluation.thresholds import parse_goal
from distilora.report.cards import passages
from distilora.report.comparing.costs import TIMED_TOKENS
from distilora.report.findings.beyond_scores import outlasts
from distilora.report.records import (
    BASELINES,
    TFIDF,
    Comparison,
    Considered,
    Difference,
    MethodRow,
    Recommendation,
    ThresholdScores,
)
from distilora.report.sections.cells import shown_interval, shown_mean
from distilora.report.sections.recommendation import choice_sentence, verdict
from distilora.report.suite_wording import group_words, words_of_test
from distilora.report.wording import (
    count,
    counted,
    goal_words,
    listed,
    number,
    p_words,
    percent,
    points,
    points_span,
    span,
)
from distilora.runs import Result


def score_tables(row: MethodRow, result: Result) -> Iterable[str]:
    """Return what this seed scores, what all seeds of its method score, and each class."""
    test = result.test
    if test is None:
        return
    rows = [
        (f"this model (seed {result.seed})", part, *_evaluation_cells(found))
        for part, found in (("test", test), ("validation", result.validation))
        if found is not None
    ]
    if len(row.seeds) > 1:
        rows.append((f"mean of {len(row.seeds)} seeds ± their SD", "test", count(test.rows), *_mean_cells(row)))
    yield passages.table(("model", "part", "rows", "macro-F1", "95 % interval", "accuracy", "95 % interval"), rows)
    yield (
        "Macro-F1 is the mean of the classes' F1, so that rare classes count as much as common ones. Intervals are "
        f"over test rows. {passages.VALIDATION_FLATTERS}"
    )
    yield _class_table(test, row)
    if row.positive is not None:
        yield _positive(row.positive, result.data.positive, seeds=len(row.seeds))


def _evaluation_cells(found: Evaluation) -> tuple[str, ...]:
    return (
        count(found.rows),
        number(found.macro_f1),
        span(found.macro_f1_interval),
        number(found.accuracy),
        span(found.accuracy_interval),
    )


def _mean_cells(row: MethodRow) -> tuple[str, ...]:
    both = (row.macro_f1, row.accuracy)
    return tuple(cell for score in both for cell in (shown_mean(score), shown_interval(score)))


def _class_table(test: Evaluation, row: MethodRow) -> str:
    header = ["class", "test rows", "precision", "recall", "F1", "95 % interval of F1"]
    if len(row.seeds) > 1:
        header[-1:] = ["F1, mean of seeds", "95 % interval"]
    rows = []
    for name, scores in test.per_class.items():
        overall = row.classes[name].f1 if row.classes and name in row.classes else None
        own = [count(scores.support), *(number(one) for one in (scores.precision, scores.recall, scores.f1))]
        mean = [shown_mean(overall)] if len(row.seeds) > 1 else []
        rows.append((passages.foreign(name), *own, *mean, shown_interval(overall)))
    return passages.table(header, rows)


def _positive(scores: ThresholdScores, positive: Sequence[str], *, seeds: int) -> str:
    goal = goal_words(*parse_goal(scores.goal))
    mean = f" (mean of {seeds} seeds)" if seeds > 1 else ""
    return (
        f"Positive: {passages.foreign(listed(positive))}. Where a text counts as positive once the probability of that "
        f"reaches {number(scores.threshold.mean)} after the temperature below (chosen on validation rows for {goal}), "
        f"the test rows give{mean} precision {number(scores.precision.mean)}, recall "
        f"{number(scores.recall.mean)} and F1 {number(scores.f1.mean)} "
        f"(95 % interval {shown_interval(scores.f1)})."
    )


def calibration_sentences(row: MethodRow, seed: int) -> Iterable[str]:
    """Return whether this seed's probabilities can be trusted, and the temperature that mends them."""
    place = row.seeds.index(seed)
    if len(row.calibration) != len(row.seeds):
        return
    before = row.calibration[place]
    words = (
        "Softmax of the logits as they are gives, on test rows, an expected calibration error of "
        f"{number(before.expected_calibration_error)} (0 is best) and a Brier score of {number(before.brier_score)}."
    )
    if len(row.calibrated) == len(row.seeds):
        after = row.calibrated[place]
        words += (
            f" Divide the logits by {number(after.temperature)}, the temperature that fits the validation rows best, "
            f"and they are {number(after.expected_calibration_error)} and {number(after.brier_score)}; labels stay as "
            'they are. The pipeline gives logits with `function_to_apply="none"`.'
        )
    yield words


def comparison_sentences(comparison: Comparison, row: MethodRow) -> Iterable[str]:
    """Return how the method, over its seeds, stands against the others on the same rows."""
    others = [other.method for other in comparison.candidates if other.method != row.method]
    means = " Compared are means over seeds." if len(row.seeds) > 1 else ""
    if others:
        yield f"Trained and tested on the same rows, the best first: {passages.foreign(', '.join(others))}.{means}"
    if row.method == comparison.teacher:
        yield "It is the teacher that the students learnt from."
    elif row.to_teacher is not None:
        yield _against(row.to_teacher, f"the teacher ({passages.foreign(row.to_teacher.other)})")
    if row.to_best is not None and row.to_best.other != comparison.teacher:
        yield _against(row.to_best, f"{passages.foreign(row.to_best.other)}, the best on these test rows")
    if row.to_tfidf is not None:
        yield _against(row.to_tfidf, BASELINES[TFIDF])
    if comparison.recommendation is not None:
        yield _recommended(comparison, comparison.recommendation, row.method)


def _against(difference: Difference, other: str) -> str:
    gap = f"Macro-F1 against {other}: {points(difference.value)} points"
    if difference.interval is None or difference.p_holm is None:
        return f"{gap}; without kept predictions nothing more can be said."
    found = f"it is {'better' if difference.value > 0 else 'worse'} by more than chance in the rows"
    if not difference.is_shown:
        alone = difference.interval.leaves_out_zero
        found = "no difference was found" + (" once all pairs are counted" if alone else "")
    return (
        f"{gap} (95 % interval {points_span(difference.interval)}; {p_words(difference.p_holm)}, corrected for all "
        f"pairs): {found}."
    )


def _recommended(comparison: Comparison, found: Recommendation, method: str) -> str:
    choice = passages.foreign(choice_sentence(comparison, found))
    one = found.of(method)
    if one is None:
        return f"It was not considered for shipping. {choice}"
    said = "it is recommended" if one.failing is None else f"it is not recommended ({_why(comparison, found, one)})"
    return f"By validation rows alone, {said}. {choice}"


def _why(comparison: Comparison, found: Recommendation, one: Considered) -> str:
    return passages.foreign(verdict(comparison, found, one))


def cost_sentences(comparison: Comparison, method: str) -> Iterable[str]:
    """Return what the method was measured to cost, and as what: a bundle is not the folder of this card."""
    session = comparison.costs
    costs = session.of(method) if session else None
    if costs is None or session is None:
        return
    model = (
        f"its {passages.foreign(costs.precision)} bundle for ONNX Runtime, which distilora makes of it"
        if costs.model == "bundle"
        else "it in PyTorch"
    )
    latency = costs.latency_at(TIMED_TOKENS) or costs.latency[-1]
    threads = counted(session.threads, "thread")
    yield (
        f"Measured was {model} (seed {costs.seed}), with {threads} on {passages.foreign(session.processor)}: "
        f"{costs.size_mb:.1f} MB to ship; one text of {latency.tokens} tokens takes {number(latency.p50_ms, 1)} ms "
        f"(95 of 100 times at most {number(latency.p95_ms, 1)} ms); {count(costs.texts_per_s)} texts a second; "
        f"at most {count(costs.memory_peak_mib)} MiB of memory."
    )


def suite_sentences(comparison: Comparison, row: MethodRow) -> Iterable[str]:
    """Return in one paragraph how the method does on hard cases, on groups and under typed noise."""
    words: list[str] = []
    for suite in comparison.suites:
        model = next((one for one in suite.models if one.path == row.method), None)
        if model is not None and model.hatecheck is not None:
            words += [_hatecheck(model.hatecheck), *_changes(model, comparison.teacher)]
        if model is not None and model.identity is not None:
            words += [*_identity(model.identity), *_changes(model, comparison.teacher)]
    words += _noise(row)
    if words:
        yield " ".join(words)


def _hatecheck(found: HateCheckScores) -> str:
    worst = found.functionalities[0] if found.functionalities else None
    least = f"; least on {passages.foreign(words_of_test(worst.name))}, {percent(worst.accuracy)}" if worst else ""
    return (
        f"Of {count(found.overall.rows)} HateCheck cases (Röttger et al. 2021) {percent(found.overall.accuracy)} are "
        f"answered rightly{least}; {percent(found.said_hateful)} of all are called hateful."
    )


def _identity(found: IdentityScores) -> Iterable[str]:
    measured = [(group.subgroup_auc.value, group.name) for group in found.groups if group.subgroup_auc]
    if found.overall is None or not measured:
        return
    lowest, name = min(measured)
    yield (
        f"On {count(found.rows)} texts that mention identities the AUC is {number(found.overall.value)}, within a "
        f"group lowest for {passages.foreign(name)}, {number(lowest)}."
    )


def _changes(model: AssessedModel, teacher: str | None) -> Iterable[str]:
    if not model.changes or model.path == teacher:
        return
    worse = [group_words(one) for one in model.changes if one.is_shown and one.value < 0]
    if worse:
        yield f"Shown to be worse there than its teacher: {passages.foreign('; '.join(worse))}."
    else:
        yield "In no group there was it found to be worse than its teacher."


def _noise(row: MethodRow) -> Iterable[str]:
    if not row.noise:
        return
    worst = max(row.noise, key=lambda drop: drop.drop)
    kinds = counted(len(row.noise), "kind")
    if worst.drop > 0 and outlasts(worst.drop, worst.interval, among=len(row.noise)):
        yield (
            f"Of {kinds} of typed noise, {passages.foreign(worst.kind)} costs the most macro-F1: "
            f"{points(worst.drop, signed=False)} points (95 % interval {points_span(worst.interval)})."
        )
    else:
        yield f"No drop in macro-F1 was found under {kinds} of typed noise."
