"""LightningModules: a network, its loss, metrics, optimizer and schedule, by plain arguments."""

from lit_course.modules.base import SupervisedModule
from lit_course.modules.linear_regressor import LinearRegressor
from lit_course.modules.mlp_classifier import MLPClassifier
from lit_course.modules.mlp_regressor import MLPRegressor
from lit_course.modules.ranker import Ranker

__all__ = ["LinearRegressor", "MLPClassifier", "MLPRegressor", "Ranker", "SupervisedModule"]
