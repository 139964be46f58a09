"""What is drawn, written and guarded around a run. Most work with any Trainer and module."""

from lit_course.callbacks.baselines import Baselines
from lit_course.callbacks.best_checkpoint import BestCheckpoint
from lit_course.callbacks.end_together import EndTogether
from lit_course.callbacks.epoch_axis import EpochAxis
from lit_course.callbacks.figures import Figures
from lit_course.callbacks.finite_check import FiniteCheck
from lit_course.callbacks.fitted_curve import FittedCurve
from lit_course.callbacks.gradient_norm import GradientNorm
from lit_course.callbacks.histograms import Histograms
from lit_course.callbacks.prediction_file import PredictionFile
from lit_course.callbacks.progress import RunProgress
from lit_course.callbacks.results import Results
from lit_course.callbacks.run_plan import RunPlan
from lit_course.callbacks.stop_early import StopEarly
from lit_course.callbacks.stop_on_signal import StopOnSignal
from lit_course.callbacks.tensorboard import TensorBoardTabs

__all__ = [
    "Baselines",
    "BestCheckpoint",
    "EndTogether",
    "EpochAxis",
    "Figures",
    "FiniteCheck",
    "FittedCurve",
    "GradientNorm",
    "Histograms",
    "PredictionFile",
    "Results",
    "RunPlan",
    "RunProgress",
    "StopEarly",
    "StopOnSignal",
    "TensorBoardTabs",
]
