"""The groups of suites in plain words.

Source of those of HateCheck: table 1 of Röttger et al. (2021), HateCheck, ACL, https://aclanthology.org/2021.acl-long.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from distilora.evaluation.suites.records import Change, Measure

MEASURE_WORDS: Mapping[Measure, str] = MappingProxyType(
    {
        "overall_auc": "AUC",
        "subgroup_auc": "subgroup AUC",
        "bpsn_auc": "BPSN AUC",
        "bnsp_auc": "BNSP AUC",
    }
)
FUNCTIONAL_TESTS: Mapping[str, str] = MappingProxyType(
    {
        "derog_neg_emote_h": "strong negative emotions",
        "derog_neg_attrib_h": "very negative attributes",
        "derog_dehum_h": "dehumanisation",
        "derog_impl_h": "implicit derogation",
        "threat_dir_h": "direct threat",
        "threat_norm_h": "threat as a norm",
        "slur_h": "hate with a slur",
        "slur_homonym_nh": "words that only look like a slur",
        "slur_reclaimed_nh": "reclaimed slurs",
        "profanity_h": "hate with profanity",
        "profanity_nh": "profanity without hate",
        "ref_subs_clause_h": "hate in a later clause",
        "ref_subs_sent_h": "hate in a later sentence",
        "negate_pos_h": "a negated positive statement",
        "negate_neg_nh": "negated hate",
        "phrase_question_h": "hate as a question",
        "phrase_opinion_h": "hate as an opinion",
        "ident_neutral_nh": "neutral words on a group",
        "ident_pos_nh": "kind words on a group",
        "counter_quote_nh": "hate quoted to denounce it",
        "counter_ref_nh": "hate referred to to denounce it",
        "target_obj_nh": "abuse of things",
        "target_indiv_nh": "abuse of a person, not of a group",
        "target_group_nh": "abuse of groups that are not protected",
        "spell_char_swap_h": "swapped letters",
        "spell_char_del_h": "missing letters",
        "spell_space_del_h": "missing spaces",
        "spell_space_add_h": "added spaces",
        "spell_leet_h": "leet speak",
    }
)
"""What stands behind the name of each published test of HateCheck."""


def words_of_test(name: str) -> str:
    """Return what a functional test means with its name, or the name alone where it is not a published one.

    Example:
        >>> words_of_test("spell_leet_h"), words_of_test("own_test")
        ('leet speak (spell_leet_h)', 'own_test')
    """
    return f"{FUNCTIONAL_TESTS[name]} ({name})" if name in FUNCTIONAL_TESTS else name


def group_words(change: Change) -> str:
    """Return what a change is of, in words that name it among all changes of its suite."""
    if change.family == "functional test":
        return words_of_test(change.name)
    if change.family == "label":
        return f"all {change.name} cases"
    measure = MEASURE_WORDS.get(change.measure)
    return f"{measure} of {change.name}" if measure else change.name
