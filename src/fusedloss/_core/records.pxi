# Calls of kernels as records: a part of core.pyx.
#
# A record has every array and option of a call, and nothing of what is wanted of it. All layers
# pass it on whole, so that only those that have to do with an option name it. The classes are
# Cython's because they are read here: a small call takes no longer than its arguments did.


cdef class Record:
    """A call of a kernel."""

    def _replace(self, **changes):
        """Return a copy with other values of some fields."""
        made = type(self)(*[changes.pop(name, getattr(self, name)) for name in self._fields])
        if changes:
            raise TypeError(f"{type(self).__name__} has no fields {', '.join(changes)}")
        return made

    def __repr__(self):
        listed = ", ".join([f"{name}={getattr(self, name)!r}" for name in self._fields])
        return f"{type(self).__name__}({listed})"


cdef class SoftmaxCall(Record):
    """A call of the softmax family; `extras` is an `Extras`, or None for its defaults."""

    _fields = (
        "kind", "logits", "target", "weight", "sample_weight", "ignore_index", "label_smoothing",
        "reduction", "axis", "num_threads", "extras", "where",
    )
    cdef readonly int kind
    cdef readonly object logits, target, weight, sample_weight, where
    cdef readonly object ignore_index, label_smoothing, reduction, axis, num_threads, extras

    def __cinit__(
        self, int kind, logits, target=None, weight=None, sample_weight=None, ignore_index=-100,
        label_smoothing=0.0, reduction="mean", axis=None, num_threads=None, extras=None,
        where=None,
    ):
        self.kind = kind
        self.logits = logits
        self.target = target
        self.weight = weight
        self.sample_weight = sample_weight
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.reduction = reduction
        self.axis = axis
        self.num_threads = num_threads
        self.extras = extras
        self.where = where


cdef class PointwiseCall(Record):
    """A call of the kernels' row LOSS(name).

    The operands are the prediction, the target, and with some losses a third, by their names or in
    a tuple; the parameters are in the row's order. A sum is divided by `divisor`, if that is not 0;
    a weighted mean divides by the sum of the weights.
    """

    _fields = (
        "name", "operands", "parameters", "weight", "reduction", "divisor", "weighted_mean",
        "num_threads", "where",
    )
    cdef readonly str name
    cdef readonly object operands
    cdef readonly tuple parameters
    cdef readonly object weight, where, reduction
    cdef readonly double divisor
    cdef readonly bint weighted_mean
    cdef readonly object num_threads

    def __cinit__(
        self, str name, operands, tuple parameters=(), weight=None, reduction="mean",
        double divisor=0.0, bint weighted_mean=False, num_threads=None, where=None,
    ):
        self.name = name
        self.operands = operands
        self.parameters = parameters
        self.weight = weight
        self.reduction = reduction
        self.divisor = divisor
        self.weighted_mean = weighted_mean
        self.num_threads = num_threads
        self.where = where


cdef class RowwiseCall(Record):
    """A call of the kernels' ROW_LOSS(name).

    The operands are the prediction and up to two others, by their names or in a tuple; roles say
    what those are, by `_check`'s names. The parameters are in the loss's order. wide: losses of
    rows have the compute dtype.
    """

    _fields = (
        "name", "operands", "roles", "parameters", "weight", "sample_weight", "reduction", "axis",
        "num_threads", "wide", "where",
    )
    cdef readonly str name
    cdef readonly object operands
    cdef readonly tuple roles, parameters
    cdef readonly object weight, sample_weight, where, reduction, axis, num_threads
    cdef readonly bint wide

    def __cinit__(
        self, str name, operands, tuple roles, tuple parameters=(), weight=None,
        sample_weight=None, reduction="mean", axis=None, num_threads=None, bint wide=False, where=None,
    ):
        self.name = name
        self.operands = operands
        self.roles = roles
        self.parameters = parameters
        self.weight = weight
        self.sample_weight = sample_weight
        self.reduction = reduction
        self.axis = axis
        self.num_threads = num_threads
        self.wide = wide
        self.where = where


cdef inline tuple operands_of(object operands):
    """The operands in a tuple."""
    return tuple(operands.values()) if type(operands) is dict else operands
