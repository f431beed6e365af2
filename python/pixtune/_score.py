"""Scores of answers by the metrics of ``pixtune evaluate``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, overload

from . import _core

Metric = Literal["exact", "relaxed", "anywhere", "anls", "vqa", "mcq", "json", "contains", "number"]
Variant = Literal["mistral", "lmms", "official"]
References = str | Sequence[str]


@overload
def score(  # type: ignore[overload-overlap]
    answers: str,
    references: References,
    *,
    metric: Metric,
    variant: Variant | None = ...,
    part: Literal["whole", "final"] = ...,
    options: Sequence[str] = ...,
    tolerance: float | None = ...,
) -> float: ...


@overload
def score(
    answers: Iterable[str],
    references: Iterable[References],
    *,
    metric: Metric,
    variant: Variant | None = ...,
    part: Literal["whole", "final"] = ...,
    options: Iterable[Sequence[str]] = ...,
    tolerance: float | None = ...,
) -> list[float]: ...


def score(
    answers: str | Iterable[str],
    references: References | Iterable[References],
    *,
    metric: Metric,
    variant: Variant | None = None,
    part: Literal["whole", "final"] = "whole",
    options: Sequence[str] | Iterable[Sequence[str]] = (),
    tolerance: float | None = None,
) -> float | list[float]:
    """The score of an answer, in [0, 1], bit-equal to the code that the metric is published with.

    Args:
        answers: one answer, or several.
        references: the reference answers of the answer, one or more; for several answers, those of each.
        metric: as ``pixtune evaluate --metric``.
        variant: whose rules to follow where programs differ; the metric's first if not given.
        part: ``final`` scores the final answer that is found in the text, as prompts with ``Answer:`` ask for it.
        options: the options of a multiple-choice question; for several answers, those of each.
        tolerance: how far numbers may be off, for ``number`` and ``json``.

    Raises:
        Error: unknown names, or references that the metric cannot compare with.
    """
    if isinstance(answers, str):
        several, rows, choices = [answers], [_texts(references)], [list(options)]
        return _core.score(several, rows, choices, metric, variant, part, tolerance)[0]  # type: ignore[arg-type]
    several, rows = list(answers), [_texts(one) for one in references]
    if len(several) != len(rows):
        raise ValueError(f"there are {len(several)} answers and references for {len(rows)}")
    return _core.score(several, rows, [list(one) for one in options], metric, variant, part, tolerance)


def _texts(references: object) -> list[str]:
    return [references] if isinstance(references, str) else list(references)  # type: ignore[call-overload]
