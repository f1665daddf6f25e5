"""scikit-learn with this package's losses: boosting, linear models and scorers.

`Loss` is what ``HistGradientBoostingRegressor`` and ``HistGradientBoostingClassifier`` take as
their ``loss``; `LinearRegressor` and `LinearClassifier` are linear models of any loss;
`make_scorer` makes a scorer of one.
"""

from fusedloss.sklearn._classifier import LinearClassifier
from fusedloss.sklearn._loss import Loss
from fusedloss.sklearn._regressor import LinearRegressor
from fusedloss.sklearn._scorers import make_scorer

__all__ = ["LinearClassifier", "LinearRegressor", "Loss", "make_scorer"]
