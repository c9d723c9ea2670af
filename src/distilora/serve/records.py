"""What the API takes and gives: one record for each body, as the OpenAPI document shows them.

Requests are strict: the number 0.5 is a threshold, the string "0.5" is not. How long texts and lists may be is a
setting of the server, so it is checked by :mod:`distilora.serve.checks`; the OpenAPI document of a running server says
the numbers.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from distilora.bundles.manifest import Goal
from distilora.bundles.tokens import LongTexts

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
ModelName = Annotated[str, Field(description="name of a served model; absent: the default", examples=["odd"])]
OwnThreshold = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="positive from this summed probability of the positive classes on; absent: the bundle's own",
    ),
]
LongTextsRule = Annotated[
    LongTexts,
    Field(
        description="what counts of a text longer than the model reads: its beginning, "
        "or the most probably positive of its windows"
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Request(_Body):
    model_config = ConfigDict(strict=True)


class PredictRequest(_Request):
    """Texts to classify."""

    texts: str | list[str] = Field(
        description="one text, or a list of them; the answer has one prediction for each, in order",
        examples=[["you are all idiots", "what a lovely day"], "you are all idiots"],
    )
    model: ModelName | None = None
    threshold: OwnThreshold = None
    long_texts: LongTextsRule = "truncate"


class Prediction(_Body):
    """What a model says of one text."""

    label: str
    probabilities: dict[str, Share] = Field(
        description="every class, calibrated, rounded to six digits, in the order of the model's labels"
    )
    positive_probability: Share | None = Field(
        description="of the positive classes together; null where the model has none"
    )
    tokens: int = Field(description="length of the whole text in tokens, special tokens included")
    cut: bool = Field(description="whether the text is longer than the model reads")


class PredictResponse(_Body):
    """One prediction for each text, in order."""

    model: str
    bundle: str = Field(description="SHA-256 that stands for every byte of the model")
    threshold: Share | None = Field(description="that was used; null where no class is positive")
    predictions: list[Prediction]


class ScoreInfo(_Body):
    """What a bundle scored on one part of the data, with its 95 % interval where one was computed."""

    part: Literal["validation", "test"]
    rows: int
    accuracy: Share
    macro_f1: Share
    macro_f1_interval: tuple[float, float] | None


class ThresholdInfo(_Body):
    """The model's own threshold and what it was chosen for."""

    value: Share
    goal: Goal


class ModelInfo(_Body):
    """One served model."""

    name: str
    bundle: str
    kind: Literal["model", "ensemble"]
    method: str | None = Field(description="how it was trained, such as odd; null for an ensemble")
    seed: int | None
    layers: list[int] | None = Field(description="the teacher layers that a student is made of, from 1")
    labels: list[str]
    positive: list[str]
    threshold: ThresholdInfo | None
    precision: Literal["fp32", "int8"] | None
    max_tokens: int = Field(description="longest text that is read whole, special tokens included")
    parameters: int | None
    size_bytes: int = Field(description="of the files that are needed to answer")
    scores: list[ScoreInfo]


class UnavailableModel(_Body):
    """A model that was to be served and cannot be."""

    name: str
    reason: str


class ModelsResponse(_Body):
    """All models, the best on validation first."""

    default: str
    models: list[ModelInfo]
    unavailable: list[UnavailableModel]


class CompareRequest(_Request):
    """A text for all models."""

    text: str = Field(examples=["you are all idiots"])
    long_texts: LongTextsRule = "truncate"


class ComparedAnswer(Prediction):
    """What one of the models says."""

    model: str
    bundle: str
    threshold: Share | None


class CompareResponse(_Body):
    """One answer for each model, in the order of ``/v1/models``."""

    answers: list[ComparedAnswer]
    agree: bool = Field(description="whether all models give the same label")
    unavailable: list[UnavailableModel]


class ExplainRequest(_Request):
    """A text whose words are to be weighed."""

    text: str = Field(examples=["you are all idiots"])
    model: ModelName | None = None
    threshold: OwnThreshold = None


class WordInfluence(_Body):
    """How much one word moved the decision."""

    word: str
    start: int = Field(description="position of its first character in the text, from 0, in Unicode code points")
    end: int = Field(description="position behind its last character")
    influence: float = Field(
        ge=-1,
        le=1,
        description="probability of the label with the word, minus the same without: above 0 speaks for the label",
    )


class ExplainResponse(_Body):
    """The decision, and what each word did to it (leave-one-out)."""

    model: str
    bundle: str
    threshold: Share | None
    prediction: Prediction
    words: list[WordInfluence]
    words_left_out: int = Field(description="words behind those that were weighed, past the limit or the model's reach")


class FeedbackRequest(_Request):
    """What the right label of a text is."""

    text: str
    label: str = Field(description="the right one of the model's labels", examples=["toxic"])
    model: ModelName | None = None
    threshold: OwnThreshold = None
    note: Annotated[str, StringConstraints(max_length=500)] | None = None


class FeedbackRow(_Body):
    """One stored judgement."""

    id: int
    created: str = Field(description="time in UTC, ISO 8601")
    text: str
    label: str = Field(description="what a person said is right")
    predicted: str = Field(description="what the model said")
    probability: Share = Field(description="that the model gave to what it said")
    right: bool = Field(description="whether the two are the same")
    model: str
    bundle: str
    threshold: Share | None
    note: str | None


class FeedbackList(_Body):
    """Stored judgements, the newest first."""

    rows: list[FeedbackRow]
    total: int
    right: int = Field(description="of all rows, those whose prediction was right")
    next_before: int | None = Field(description="give this as `before` for the next page; null at the end")


class Status(_Body):
    """Whether the server is alive, or ready."""

    status: Literal["ok", "draining"]


class WrongPlace(BaseModel):
    """One place of a request that is wrong; some say more of it."""

    where: str = Field(description="names and positions from 0, with dots between", examples=["texts.3"])
    problem: str = Field(description="what is wrong there, and what is allowed", examples=["is missing"])


class ProblemBody(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(
        description="which kind of problem it is, as an address that explains it", examples=["/api#invalid"]
    )
    title: str = Field(description="the kind in words, the same for every problem of the kind")
    status: int = Field(description="HTTP status", ge=400, le=599)
    detail: str = Field(description="this case in words: what came, what is allowed")
    errors: list[WrongPlace] | None = Field(None, description="the first places that are wrong; absent where none are")
