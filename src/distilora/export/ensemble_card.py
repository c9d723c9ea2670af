"""An ensemble's model card: what a person must know of it, and of each of its members, before using it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from distilora.bundles.manifest import MEMBERS_FOLDER, MODEL_FILE, Manifest, Origin
from distilora.export.card import CardFacts, OwnWords, own_limits, whole_card
from distilora.report.cards.passages import data_used, foreign, hashed, software
from distilora.report.making import Making, what_it_is
from distilora.report.wording import count, listed

_BYTES_PER_MB = 1_000_000


class MemberFacts(NamedTuple):
    """What the card tells of a member."""

    manifest: Manifest
    making: Making
    """Of its run."""


Members = Mapping[str, MemberFacts]


def ensemble_card(manifest: Manifest, members: Members, facts: CardFacts) -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        manifest: of an ensemble, with everything measured.
        members: by name, in the ensemble's order.
        facts: what else is told.

    Source:
        Mitchell et al. (2019), Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993.
    """
    origin = next(one.manifest.origin for one in members.values() if one.manifest.origin is not None)
    limits = dict.fromkeys(limit for one in members.values() for limit in own_limits(one.manifest))
    told = OwnWords(_lead(manifest, members), limits, _making(manifest, members, origin, facts))
    return whole_card(manifest, told, origin=origin, base_model=facts.base_model)


def _lead(manifest: Manifest, members: Members) -> str:
    models = [member.manifest for member in members.values()]
    longest = max(model.max_length or 0 for model in models)
    return (
        f"It says which of {len(manifest.labels)} classes a text belongs to: by the mean of the calibrated "
        f"probabilities of {len(models)} ONNX models, {foreign(listed(list(members)))}. All of them answer every text, "
        "so that it costs the time, the memory and the room of all of them together: "
        f"{_megabytes(*models)} of models that run on an ordinary processor. It reads the first {longest} tokens of a "
        "text."
    )


def _megabytes(*manifests: Manifest) -> str:
    return f"{sum(one.files[MODEL_FILE].size_bytes for one in manifests) / _BYTES_PER_MB:.1f} MB"


def _making(manifest: Manifest, members: Members, origin: Origin, facts: CardFacts) -> Iterator[str]:
    yield f"Ensemble {foreign(manifest.name)}, seed {origin.seed}: nothing was trained for it but its members."
    for name, member in members.items():
        yield _member(name, member)
    yield (
        f"Encoder of all {foreign(origin.encoder)} (family {foreign(origin.family)}), weights "
        f"{hashed(origin.encoder_sha256)}."
    )
    yield data_used(origin.data_source, facts.part_rows, sha256=origin.data_sha256)
    yield f"Exported with {software(manifest.versions)}."


def _member(name: str, member: MemberFacts) -> str:
    manifest = member.manifest
    return (
        f"Member {foreign(name)}: {foreign(what_it_is(member.making))}; {manifest.precision}, {_megabytes(manifest)}, "
        f"{count(manifest.parameters)} parameters, temperature {manifest.temperature:.3f}; its own card stands in "
        f"`{MEMBERS_FOLDER}/{name}`."
    )
