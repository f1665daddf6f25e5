"""The losses of `fusedloss.torch.functional` as modules."""

from fusedloss.torch.modules.binary import (
    AsymmetricLoss,
    BCELoss,
    BCEWithLogitsLoss,
    ExponentialLoss,
    HingeLoss,
    LogisticLoss,
    SigmoidFocalLoss,
    SoftMarginLoss,
    SquaredHingeLoss,
    ZeroOneLoss,
)
from fusedloss.torch.modules.classification import (
    CategoricalCrossEntropyLoss,
    CrossEntropyLoss,
    DistillationLoss,
    FocalLoss,
    NLLLoss,
    SoftCrossEntropyLoss,
)
from fusedloss.torch.modules.divergence import (
    JSDivLoss,
    KLDivLoss,
    TotalVariationLoss,
)
from fusedloss.torch.modules.layers import (
    PerceptualLoss,
)
from fusedloss.torch.modules.ranking import (
    HingeEmbeddingLoss,
    MarginRankingLoss,
)
from fusedloss.torch.modules.regression import (
    GammaLoss,
    GaussianNLLLoss,
    HuberLoss,
    L1Loss,
    LogCoshLoss,
    MAPELoss,
    MSELoss,
    MSLELoss,
    PoissonNLLLoss,
    QuantileLoss,
    SmoothL1Loss,
    TweedieLoss,
)

__all__ = [
    "AsymmetricLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CategoricalCrossEntropyLoss",
    "CrossEntropyLoss",
    "DistillationLoss",
    "ExponentialLoss",
    "FocalLoss",
    "GammaLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HingeLoss",
    "HuberLoss",
    "JSDivLoss",
    "KLDivLoss",
    "L1Loss",
    "LogCoshLoss",
    "LogisticLoss",
    "MAPELoss",
    "MSELoss",
    "MSLELoss",
    "MarginRankingLoss",
    "NLLLoss",
    "PerceptualLoss",
    "PoissonNLLLoss",
    "QuantileLoss",
    "SigmoidFocalLoss",
    "SmoothL1Loss",
    "SoftCrossEntropyLoss",
    "SoftMarginLoss",
    "SquaredHingeLoss",
    "TotalVariationLoss",
    "TweedieLoss",
    "ZeroOneLoss",
]
