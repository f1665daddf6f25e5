"""Layers that own the weights of classes and compute a loss without logits.

A head is called with embeddings and labels, and adds the mean of its losses to those of the model,
which is compiled without a loss:

    outputs = ArcFace(num_classes=1000)(embeddings, labels)
    model = keras.Model([images, labels], outputs)
    model.compile("adam")

Without labels it returns logits, for evaluation.
"""

from fusedloss.keras.layers._linear import LinearCrossEntropy
from fusedloss.keras.layers._margin import (
    AdaFace,
    ArcFace,
    ASoftmax,
    CombinedMargin,
    CosFace,
    L2Softmax,
    LSoftmax,
    MagFace,
    NormFace,
    SphereFace,
    SubcenterArcFace,
)

__all__ = [
    "ASoftmax",
    "AdaFace",
    "ArcFace",
    "CombinedMargin",
    "CosFace",
    "L2Softmax",
    "LSoftmax",
    "LinearCrossEntropy",
    "MagFace",
    "NormFace",
    "SphereFace",
    "SubcenterArcFace",
]
