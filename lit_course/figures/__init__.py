"""Figures of what a model does: from numbers to a picture, and to the same numbers as text."""

from lit_course.figures.chart import Chart
from lit_course.figures.collector import Collector, together
from lit_course.figures.confusion import confusion_matrix
from lit_course.figures.curves import curves
from lit_course.figures.ranking import metric_by_query, score_by_relevance
from lit_course.figures.regression import (
    coefficients,
    fitted_curve,
    predicted_against_true,
    residuals,
)
from lit_course.figures.reliability import reliability
from lit_course.figures.seen import Seen
from lit_course.figures.tasks import charts_of, classification, regression
from lit_course.figures.thresholds import precision_recall_curves, roc_curves
from lit_course.figures.tiles import classified, weight_images, weight_map

__all__ = [
    "Chart",
    "Collector",
    "Seen",
    "charts_of",
    "classification",
    "classified",
    "coefficients",
    "confusion_matrix",
    "curves",
    "fitted_curve",
    "metric_by_query",
    "precision_recall_curves",
    "predicted_against_true",
    "regression",
    "reliability",
    "residuals",
    "roc_curves",
    "score_by_relevance",
    "together",
    "weight_images",
    "weight_map",
]
