"""What happens when a check in `_core` fails: find the fault and word it, or mend what is only odd.

Valid arguments that the kernels do not take as they are (lists, byte-swapped or misaligned arrays,
other float dtypes) are brought into the form that they do take. Every error text of the NumPy API
lives here.
"""

from fusedloss._check.images import segmentation
from fusedloss._check.labels import (
    NOTHING_IGNORED,
    class_indices,
    class_labels,
    classes,
    raise_bad_index,
    weight_of_samples,
)
from fusedloss._check.layers import arrays, places, same_length
from fusedloss._check.linear_layer import (
    LinearCall,
    LinearGradients,
    Margin,
    Shard,
    linear,
    shifted_by,
)
from fusedloss._check.margin import (
    GRADIENTS,
    embeddings_of_classes,
    margin_head,
    norm_statistics,
)
from fusedloss._check.operands import (
    MOST_DIMENSIONS,
    as_array,
    as_plain,
    compute_dtype,
    plain_prediction,
)
from fusedloss._check.options import (
    MOST_GAMMA,
    MOST_POWER,
    checked_extras,
    count,
    finite,
    in_range,
    integer,
    less_than_one,
    norm,
    not_negative,
    num_threads,
    number,
    one_of,
    one_or_two,
    outputs,
    positive,
    reduction,
    workspace_size,
)
from fusedloss._check.points import (
    DOMAINS,
    batch_mean,
    pointwise,
    raise_bad_value,
    scores_or_classes,
)
from fusedloss._check.results import (
    as_output,
    cotangent,
    delivered,
    loss_cotangent,
    place,
    scalar_cotangent,
    zeros_like,
)
from fusedloss._check.rows import (
    INDICES,
    INDICES_OR_ROWS,
    LABELS,
    ROWS,
    VALUES,
    raise_bad_class,
    rowwise,
)
from fusedloss._check.sequences import CTCCall, ctc
from fusedloss._check.softmax_family import softmax
from fusedloss._check.teachers import distillation
from fusedloss._check.triplets import triplets

__all__ = [
    "DOMAINS",
    "GRADIENTS",
    "INDICES",
    "INDICES_OR_ROWS",
    "LABELS",
    "MOST_DIMENSIONS",
    "MOST_GAMMA",
    "MOST_POWER",
    "NOTHING_IGNORED",
    "ROWS",
    "VALUES",
    "CTCCall",
    "LinearCall",
    "LinearGradients",
    "Margin",
    "Shard",
    "arrays",
    "as_array",
    "as_output",
    "as_plain",
    "batch_mean",
    "checked_extras",
    "class_indices",
    "class_labels",
    "classes",
    "compute_dtype",
    "cotangent",
    "count",
    "ctc",
    "delivered",
    "distillation",
    "embeddings_of_classes",
    "finite",
    "in_range",
    "integer",
    "less_than_one",
    "linear",
    "loss_cotangent",
    "margin_head",
    "norm",
    "norm_statistics",
    "not_negative",
    "num_threads",
    "number",
    "one_of",
    "one_or_two",
    "outputs",
    "place",
    "places",
    "plain_prediction",
    "pointwise",
    "positive",
    "raise_bad_class",
    "raise_bad_index",
    "raise_bad_value",
    "reduction",
    "rowwise",
    "same_length",
    "scalar_cotangent",
    "scores_or_classes",
    "segmentation",
    "shifted_by",
    "softmax",
    "triplets",
    "weight_of_samples",
    "workspace_size",
    "zeros_like",
]
