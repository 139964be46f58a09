"""scikit-learn estimators over the modules.

>>> import numpy as np
>>> from lit_course.sklearn import LitMLPClassifier
>>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
>>> classifier = LitMLPClassifier(hidden_features=(8,), lr=0.1, random_state=0)
>>> classifier.fit(X, ["left", "left", "right", "right"]).predict([[-3.0], [3.0]]).tolist()
['left', 'right']
"""

from lit_course.sklearn.linear_regressor import LitLinearRegressor
from lit_course.sklearn.mlp_classifier import LitMLPClassifier
from lit_course.sklearn.mlp_regressor import LitMLPRegressor

__all__ = ["LitLinearRegressor", "LitMLPClassifier", "LitMLPRegressor"]
