"""Losses over a process group: of the rows of all ranks, classes shared out among them."""

from fusedloss.torch.distributed.contrastive import sharded_clip_loss, sharded_siglip_loss
from fusedloss.torch.distributed.functions import (
    class_range,
    sharded_linear_cross_entropy,
    sharded_margin_loss,
)
from fusedloss.torch.distributed.gathered import GatheredLoss
from fusedloss.torch.distributed.modules import (
    Sharded,
    ShardedAdaFaceLoss,
    ShardedArcFaceLoss,
    ShardedASoftmaxLoss,
    ShardedCombinedMarginLoss,
    ShardedCosFaceLoss,
    ShardedCurricularFaceLoss,
    ShardedL2SoftmaxLoss,
    ShardedLinearCrossEntropyLoss,
    ShardedLSoftmaxLoss,
    ShardedMagFaceLoss,
    ShardedNormFaceLoss,
    ShardedProxyNCALoss,
    ShardedSoftTripleLoss,
    ShardedSphereFaceLoss,
    ShardedSubcenterArcFaceLoss,
    shard_state_dict,
)

__all__ = [
    "GatheredLoss",
    "Sharded",
    "ShardedASoftmaxLoss",
    "ShardedAdaFaceLoss",
    "ShardedArcFaceLoss",
    "ShardedCombinedMarginLoss",
    "ShardedCosFaceLoss",
    "ShardedCurricularFaceLoss",
    "ShardedL2SoftmaxLoss",
    "ShardedLSoftmaxLoss",
    "ShardedLinearCrossEntropyLoss",
    "ShardedMagFaceLoss",
    "ShardedNormFaceLoss",
    "ShardedProxyNCALoss",
    "ShardedSoftTripleLoss",
    "ShardedSphereFaceLoss",
    "ShardedSubcenterArcFaceLoss",
    "class_range",
    "shard_state_dict",
    "sharded_clip_loss",
    "sharded_linear_cross_entropy",
    "sharded_margin_loss",
    "sharded_siglip_loss",
]
