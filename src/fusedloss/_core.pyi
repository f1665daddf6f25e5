from typing import Any, Self

import numpy as np

from fusedloss._check import CTCCall, LinearCall, PixelCall
from fusedloss._lower.pairs import PairCall
from fusedloss._types import Array, Extras

CROSS_ENTROPY: int
INDEX_TARGET: int
PROBABILITY_TARGET: int
LOGSUMEXP: int
LOG_SOFTMAX: int
ENTROPY: int
TEACHER_DIVERGENCE: int
TEACHER_TARGET: int

LOGITS: int
LOG_PROBABILITIES: int
PROBABILITIES: int

DOT_PRODUCT: int
COSINE_DISTANCE: int
EUCLIDEAN: int
SQUARED_EUCLIDEAN: int
LP: int
SNR: int

def use_exchange(table: object) -> bool: ...
def use_tensors(
    torch: Any, as_array: Any, of_array: Any, of_number: Any, large_like: Any
) -> None: ...
def use_graph(torch: Any, node: Any, scalable: Any, by_formula: Any) -> None: ...
def fused(call: Any, *tensors: Any) -> Any: ...
def save(ctx: Any, node: Any, *inputs: Any) -> Any: ...
def gradients_of(ctx: Any, grad_output: Any) -> tuple[Any, ...]: ...

class Record:
    """A call of a kernel: every array and option, and nothing of what is wanted of it."""

    _fields: tuple[str, ...]
    def _replace(self, **changes: Any) -> Self: ...

class SoftmaxCall(Record):
    kind: int
    logits: Any
    target: Any
    weight: Any
    sample_weight: Any
    ignore_index: Any
    label_smoothing: Any
    reduction: Any
    axis: Any
    num_threads: Any
    extras: Extras | None
    where: Any
    def __init__(
        self,
        kind: int,
        logits: Any,
        target: Any = None,
        weight: Any = None,
        sample_weight: Any = None,
        ignore_index: Any = -100,
        label_smoothing: Any = 0.0,
        reduction: Any = "mean",
        axis: Any = None,
        num_threads: Any = None,
        extras: Extras | None = None,
        where: Any = None,
    ) -> None: ...

class PointwiseCall(Record):
    name: str
    operands: Any  # a dict by names, or a tuple
    parameters: tuple[float, ...]
    weight: Any
    reduction: Any
    divisor: float
    weighted_mean: bool
    num_threads: Any
    where: Any
    def __init__(
        self,
        name: str,
        operands: dict[str, Any] | tuple[Any, ...],
        parameters: tuple[float, ...] = (),
        weight: Any = None,
        reduction: Any = "mean",
        divisor: float = 0.0,
        weighted_mean: bool = False,
        num_threads: Any = None,
        where: Any = None,
    ) -> None: ...

class RowwiseCall(Record):
    name: str
    operands: Any  # a dict by names, or a tuple
    roles: tuple[int, ...]
    parameters: tuple[float, ...]
    weight: Any
    sample_weight: Any
    reduction: Any
    axis: Any
    num_threads: Any
    wide: bool
    where: Any
    def __init__(
        self,
        name: str,
        operands: dict[str, Any] | tuple[Any, ...],
        roles: tuple[int, ...],
        parameters: tuple[float, ...] = (),
        weight: Any = None,
        sample_weight: Any = None,
        reduction: Any = "mean",
        axis: Any = None,
        num_threads: Any = None,
        wide: bool = False,
        where: Any = None,
    ) -> None: ...

def softmax(
    call: SoftmaxCall,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
    hessian: bool = False,
) -> Any: ...
def softmax_plain(
    call: SoftmaxCall,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
    hessian: bool = False,
    bits: bool = False,
) -> Any: ...
def pointwise(
    call: PointwiseCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
    hessian: bool = False,
) -> Any: ...
def pointwise_plain(
    call: PointwiseCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
    hessian: bool = False,
    bits: bool = False,
    whole: int = 0,
) -> Any: ...
def rowwise(
    call: RowwiseCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any: ...
def rowwise_plain(
    call: RowwiseCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
    bits: bool = False,
) -> Any: ...
def bends_others(margin: str) -> bool: ...
def linear_product(
    x: Array,
    weight: Array,
    logits: Array,
    counts: Array | None = None,
    input_gradient: Array | None = None,
    weight_gradient: Array | None = None,
    *,
    wanted: bool = False,
    accumulate: bool = False,
    workspace: int = 0,
    num_threads: int | None = None,
) -> None: ...
def linear_cross_entropy(
    call: LinearCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
    bits: bool = False,
) -> Any: ...
def pairwise(
    call: PairCall,
    gradient: bool | tuple[int, ...] = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any: ...
def segmentation_sums(call: PixelCall, entropy: bool) -> Array: ...
def segmentation_gradient(
    call: PixelCall, slopes: Array, entropy_slope: float, out: Array
) -> Array: ...
def lovasz(
    call: PixelCall, hinge: bool, together: bool, first_class: int
) -> tuple[Array, Array] | None: ...
def ctc_plain(
    log_probs: Any,
    targets: Any,
    input_lengths: tuple[int, ...],
    target_lengths: tuple[int, ...],
    blank: int,
    zero_infinity: bool,
    reduction: Any,
    num_threads: int,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any: ...
def ctc(call: CTCCall, grad_output: Any = 1.0, gradient: Any = None) -> Any: ...
def new_like(x: Array) -> Array: ...
def new_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array: ...
def empty_cache() -> None: ...
def is_large(size: int) -> bool: ...
def keeps_memory() -> bool: ...
def keep_from(size: int) -> int: ...
def memory_counts() -> dict[str, int]: ...

ENVIRONMENT_PROBLEMS: list[str]

def isa_names() -> list[str]: ...
def isa_available(name: str) -> bool: ...
def current_isa() -> str: ...
def select_isa(name: str) -> None: ...
def isa_source() -> str: ...
def cpu_features() -> str: ...
def compiler() -> str: ...
def openmp_version() -> int: ...
def engine_counts() -> dict[str, int]: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def push_num_threads(n: int) -> int: ...
def num_threads_source() -> str: ...
def record(
    function: Any, arguments: tuple[Any, ...], family: int
) -> tuple[Any, int, bytes, dict[int, int]] | None: ...
def recording_version() -> int: ...
def xla_handler() -> tuple[object, tuple[int, int]]: ...
