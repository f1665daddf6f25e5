from typing import Any

CROSS_ENTROPY: int
LOGSUMEXP: int
LOG_SOFTMAX: int
PROBABILITY_TARGET: int

def softmax(
    kind: int,
    logits: Any,
    target: Any,
    weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    reduction: Any,
    axis: Any,
    num_threads: Any,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any: ...
def softmax_plain(
    kind: int,
    logits: Any,
    target: Any,
    weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    reduction: Any,
    axis: Any,
    num_threads: Any,
    gradient: bool = False,
    grad_output: Any = None,
    out: Any = None,
) -> Any: ...
def isa_names() -> list[str]: ...
def isa_available(name: str) -> bool: ...
def current_isa() -> str: ...
def select_isa(name: str) -> None: ...
def isa_source() -> str: ...
def cpu_features() -> str: ...
def compiler() -> str: ...
def openmp_version() -> int: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def push_num_threads(n: int) -> int: ...
def num_threads_source() -> str: ...
