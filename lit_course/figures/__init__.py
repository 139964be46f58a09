"""Figures of what a model does: from numbers to a picture, and to the same numbers as text."""

from lit_course.figures.chart import Chart
from lit_course.figures.curves import curves
from lit_course.figures.ranking import metric_by_query, score_by_relevance

__all__ = ["Chart", "curves", "metric_by_query", "score_by_relevance"]
