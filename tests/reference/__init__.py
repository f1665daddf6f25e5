"""The formula of every loss, its gradient and diagonal Hessian in NumPy: the oracle of the tests.

Each function named like a public loss returns ``(value, gradient)``; benchmarks import them too.
"""

from reference.binary import *
from reference.boxes import *
from reference.divergence import *
from reference.multiclass import *
from reference.preference import *
from reference.ranking import *
from reference.regression import *
from reference.segmentation import *
from reference.sequences import *
from reference.similarity import *
from reference.softmax_family import *
