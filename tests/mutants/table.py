"""The faults: where, what is right and between « and », what is planted, and who should notice."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One fault of one file."""

    file: str  # under src/
    snippet: str  # occurs once; « and » round the expression or the statement that is replaced
    faulty: str
    tests: str  # the arguments of pytest that are likely to notice

    @property
    def text(self) -> str:
        """What the sources hold."""
        return self.snippet.replace("«", "").replace("»", "")

    @property
    def right(self) -> str:
        return self.snippet[self.snippet.index("«") + 1 : self.snippet.index("»")]


POINTWISE = "test_fixtures.py test_pointwise.py"
ROWWISE = "test_fixtures.py test_rowwise.py"
SOFTMAX = "test_fixtures.py test_cross_entropy.py"
TEACHER = "test_distillation.py test_convergence.py -k 'teacher or student or soft or distillation'"
ENTROPY = "test_entropy.py"
MASKS = "test_where.py"
SEGMENTATION = "test_fixtures.py test_segmentation.py"
#: All of test_metric.py takes minutes.
METRIC = (
    "test_fixtures.py test_metric.py -k 'fixtures or value_and_gradient or reference or triplets "
    "or towers or anchors or nothing or threads or groups'"
)
PAIR_MASKS = "test_where_pairs.py -k masked"
HEADS = "test_fixtures.py test_margin.py"
LAYERS = "test_linear_losses.py"
ADAPTIVE = "test_adaptive.py"
THREADS = "test_engine.py test_threads.py"
DRIVER = "test_engine.py -k race"
SIGNALS = "test_engine.py -k signal"
ARRAYS = "test_any_array.py test_errors.py"
ENVIRONMENT = (
    "test_threads.py -k "
    "'environment or nonsense or set_and or restores or follows or wins or every_way'"
)
BACKWARD = "test_torch_autograd.py -k 'walked_again or different_grad'"
SCALING = "test_torch_autograd.py -k 'scaling or rounded_once'"

FAULTS = (
    # ---- Regression
    Fault("kernels/regression.inc", "outside = «a > delta»;", "a >= delta", POINTWISE),
    Fault("kernels/regression.inc", "delta * (a - delta * «(real)0.5»)", "1", POINTWISE),
    Fault("kernels/regression.inc", "inside = «a < beta»;", "a <= beta", POINTWISE),
    Fault("kernels/regression.inc", "e * e * «(real)0.5 / beta»", "1 / beta", POINTWISE),
    Fault("kernels/regression.inc", "near = «a < (real)0.5»;", "a < 5", POINTWISE),
    Fault(
        "kernels/regression.inc",
        "«vexp_nonpositive(-2 * a)», square",
        "vexp_nonpositive(-a)",
        POINTWISE,
    ),
    Fault("kernels/regression.inc", "blend(«e > 0», above, below)", "e < 0", POINTWISE),
    Fault("kernels/regression.inc", "dt = blend(«t < least», splat(0), -(e", "t < 0", POINTWISE),
    Fault("kernels/regression.inc", "const ivec above = «t > 1»;", "t >= 1", POINTWISE),
    Fault("kernels/regression.inc", "(real)0.5 / «t», splat(0)", "log_t", POINTWISE),
    Fault("kernels/regression.inc", "positive, blend(«x < 0», negative, x)", "x <= 0", POINTWISE),
    # ---- Scores and divergences
    Fault("kernels/binary.inc", "blend(gap == 0, splat(«(real)0.5»)", "1", POINTWISE),
    Fault("kernels/binary.inc", "half = blend(«inside», gap", "~inside", POINTWISE),
    Fault(
        "kernels/divergence.inc",
        "near = «absolute(d) <= (real)0.5»;",
        "d != d",
        "test_divergence.py -k digits",
    ),
    # ---- Rows
    Fault("kernels/multiclass.inc", "return (double)share * «sum»;", "once", ROWWISE),
    Fault("kernels/multiclass.inc", "(squared ? «2» : 1)", "1", ROWWISE),
    Fault("kernels/multiclass.inc", "row->dx[y] = «-step» * (real)slopes", "step", ROWWISE),
    Fault(
        "kernels/multiclass.inc",
        "stored(hinges + i, blend(«lane_at(i, y)», zero, positive_part(load(x + i) + gap))",
        "lane_at(i, y + 1)",
        ROWWISE,
    ),
    Fault("kernels/multiclass.inc", "scale = «gap > 0» ?", "gap >= 0", ROWWISE),
    Fault("kernels/multiclass.inc", "dx[first] += scale * («1 - t[first]»)", "1", ROWWISE),
    Fault("kernels/multiclass.inc", "others & («hinge > 0»)", "hinge >= 0", ROWWISE),
    Fault("kernels/multiclass.inc", "labels < n && «t[labels] >= 0»", "t[labels] > 0", ROWWISE),
    Fault(
        "kernels/multiclass.inc",
        "«row->dx[label] -= (real)lane_sum(open);»",
        "row->dx[label] = -(real)lane_sum(open);",
        ROWWISE,
    ),
    Fault("kernels/multiclass.inc", "const ivec positive = «x >= 0»;", "x >= 1", ROWWISE),
    Fault("kernels/similarity.inc", "(row, x, t, f_x, f_t, «f_x < most» ?", "1", ROWWISE),
    Fault("kernels/similarity.inc", "cosine : 0, «f_t < most» ?", "1", ROWWISE),
    Fault("kernels/similarity.inc", "!(«above < 0») ? 1", "above <= 0", ROWWISE),
    Fault("kernels/similarity.inc", "f_t = 1 / hypot(t.length, «1e-6»);", "0", ROWWISE),
    Fault(
        "kernels/similarity.inc",
        "return «load(d->a + i) - load(d->b + i) + d->eps»;",
        "load(d->a + i) - load(d->b + i) - d->eps",
        ROWWISE,
    ),
    Fault(
        "kernels/similarity.inc",
        "«other.length < far.length» ?",
        "other.length > far.length",
        ROWWISE,
    ),
    Fault("kernels/similarity.inc", "most, «one», zero))))", "zero", ROWWISE),
    # ---- Softmax
    Fault(
        "kernels/softmax.inc",
        "const ivec far = «target.behind > 1»;",
        "target.behind > 1000",
        SOFTMAX,
    ),
    Fault(
        "kernels/softmax.inc",
        "blend(«rest == 0», splat(1), target.surprise",
        "rest < 0",
        "test_focal.py",
    ),
    Fault("kernels/softmax.inc", "power * (1 + «gamma» * share)", "1", "test_focal.py"),
    Fault(
        "kernels/softmax.inc",
        "(2 - target.surprise + («gamma - 1») * share)",
        "gamma",
        "test_hessian.py test_focal.py",
    ),
    Fault(
        "kernels/softmax.inc",
        "args->label_smoothing / (double)«args->classes» : 1.0",
        "(args->classes + 1)",
        SOFTMAX,
    ),
    Fault(
        "kernels/softmax_rows.inc",
        "if (!«(highest > max)») continue;",
        "(highest >= max)",
        "test_fixtures.py test_softmax_options.py",
    ),
    Fault(
        "kernels/softmax_rows.inc",
        "max = highest, best = «first + i»;",
        "i",
        "test_fixtures.py test_softmax_options.py",
    ),
    Fault("kernels/nll.inc", "weight == 0 ? 0 : «-weight» *", "weight", "test_nll.py"),
    Fault(
        "kernels/nll.inc",
        "«-chunk.scales[p]» * chunk.target_weights[p]",
        "chunk.scales[p]",
        "test_nll.py",
    ),
    # ---- Distillation
    Fault("kernels/distillation.inc", "loss = «log1p(f)»;", "f", TEACHER),
    Fault(
        "kernels/distillation.inc",
        "«share» * load(row->scratch + i)));",
        "(share - share)",
        TEACHER,
    ),
    Fault("kernels/distillation.inc", "far_divergence(row, &of) + «entropy»;", "0", TEACHER),
    Fault(
        "kernels/distillation_columns.inc", "if (any(«~is_done»))", "~is_done & is_done", TEACHER
    ),
    Fault("kernels/distillation_columns.inc", "loss = «vlog1p(f)»;", "f", TEACHER),
    # ---- Entropy and masks
    Fault("kernels/streaming.inc", "exponent_in_range(z - «block->reference»)", "1", ENTROPY),
    Fault("kernels/softmax_rows.inc", "+= entropy_product(e, «v - m»);", "v", ENTROPY),
    Fault("kernels/softmax_columns.inc", "products += e * «behind»;", "zc", ENTROPY),
    Fault("kernels/pointwise.inc", "count += «counts[k]»;", "1", MASKS),
    Fault("kernels/pointwise.inc", "masks = where && «!has_factors» &&", "1", MASKS),
    # ---- Segmentation
    Fault("kernels/segmentation.inc", "places->base += «class»;", "0", SEGMENTATION),
    Fault("kernels/segmentation.inc", "s.others = «max - max»;", "zero", SEGMENTATION),
    Fault(
        "kernels/segmentation.inc",
        "for (int64_t c = «1»; c < tile->classes; c++) {\n        const vec z",
        "2",
        SEGMENTATION,
    ),
    Fault("kernels/segmentation.inc", "p * («1 - t»));", "splat(1)", SEGMENTATION),
    Fault("kernels/segmentation.inc", "«slopes[2 * c + 1]» * t;", "slopes[2 * c]", SEGMENTATION),
    Fault(
        "kernels/segmentation.inc",
        "entropies += blend(counted != 0, counted * «entropy», splat(0));",
        "entropy * 2",
        SEGMENTATION,
    ),
    Fault(
        "kernels/segmentation.inc",
        "«sums[v] += lane_sum(load(lanes + v * LANES));»",
        "sums[v] = lane_sum(load(lanes + v * LANES));",
        SEGMENTATION,
    ),
    Fault(
        "kernels/segmentation_labels.inc",
        "«(1 - q) - chance.rest», c",
        "chance.p - q",
        SEGMENTATION,
    ),
    Fault(
        "kernels/segmentation_labels.inc", "missed += blend(«l.counts»,", "isplat(-1)", SEGMENTATION
    ),
    Fault("kernels/lovasz.inc", "step = weight / «either»;", "total", SEGMENTATION),
    Fault("kernels/lovasz.inc", ": «inside» * weight / (either", "total", SEGMENTATION),
    Fault("kernels/lovasz.inc", "const int sorted = «!args->hinge || key > 1»;", "1", SEGMENTATION),
    # ---- Sequences
    Fault("kernels/ctc.inc", "if («labels[k] != labels[k - 1]») s.skips", "1", "test_sequences.py"),
    Fault(
        "kernels/ctc.inc",
        "high + log_of_sum(1 + vexp_nonpositive(«low - base»));",
        "low",
        "test_sequences.py",
    ),
    Fault("kernels/ctc.inc", "return «is_stopped(partial)»;", "0", "test_engine.py -k interrupt"),
    Fault(
        "kernels/linear_logits.inc",
        "first < end && «!is_stopped(partial)»;",
        "1",
        "test_engine.py -k interrupt",
    ),
    # ---- Pairs
    Fault(
        "kernels/pairwise_finish.inc",
        "if (has_sums) «sum += column_sums_of(args, group)[j];»",
        "sum = group ? sum : column_sums_of(args, group)[j];",
        METRIC,
    ),
    Fault("kernels/pairwise_finish.inc", "if («inverse > 0»)", "1", METRIC),
    Fault(
        "kernels/pairwise_pack.inc",
        "norm < least ? «-factors[i]» : factors[i]",
        "factors[i]",
        METRIC,
    ),
    Fault("kernels/pairwise_walk.inc", "if («weight == 0») row->nonzero[i] = 0;", "0", METRIC),
    Fault(
        "kernels/pairwise_walk.inc",
        "= has_loss ? (real)«factor_of_anchor(args, j)» : 0",
        "1",
        METRIC,
    ),
    Fault("kernels/pairwise_finish.inc", "store(at, «add» ? load(at)", "0", METRIC),
    Fault(
        "kernels/pairwise_walk.inc",
        "highest = max_or_second(«load(exponentials_of(args, group) + j)», highest);",
        "highest",
        METRIC,
    ),
    Fault(
        "kernels/metric.inc",
        "add_hinge(&sums[0], x, «x > 0», (real)row->factor[0]",
        "x >= 0",
        METRIC,
    ),
    Fault(
        "kernels/metric.inc",
        "at < bins ? (int64_t)at : «(int64_t)bins - 1»;",
        "(int64_t)bins",
        METRIC,
    ),
    Fault("kernels/metric.inc", "if (!(«at > 0»)) bin = 0;", "at > 1", METRIC),
    Fault(
        "kernels/contrastive.inc", "row->slopes[0] = «lane_sum(products)» + row->share", "0", METRIC
    ),
    Fault("kernels/multiclass.inc", "const ivec has_none = «t == 0»;", "t < 0", ROWWISE),
    Fault(
        "kernels/multiclass.inc",
        "(others - (double)own * «of.others») / of.total",
        "of.total",
        "test_focal.py -k distributions",
    ),
    Fault("kernels/pairwise_values.inc", "if («kept») inside &=", "0", PAIR_MASKS),
    Fault(
        "kernels/pairwise_values.inc",
        "(«kept ? row->keeps : args->columns») -",
        "args->columns",
        PAIR_MASKS,
    ),
    Fault("kernels/pairwise_walk.inc", "if («!has_loss») to[j] =", "0", PAIR_MASKS),
    Fault("kernels/pairwise_walk.inc", "row.share = «leaves» ? 0", "0", PAIR_MASKS),
    Fault("kernels/pairwise_walk.inc", "const double weight = «leaves» ? 0", "0", PAIR_MASKS),
    Fault(
        "kernels/pairwise_pack.inc",
        "if («args->any_counts» || !is_masked(args, i, i))",
        "0",
        PAIR_MASKS,
    ),
    Fault(
        "kernels/pairwise_pack.inc",
        "if («args->where.data && side->left_out[i]») return",
        "0",
        PAIR_MASKS,
    ),
    Fault("kernels/triplets.inc", "(d > positive) & («x >= 0»);", "x > 0", METRIC),
    # ---- Heads
    Fault("kernels/distillation.inc", "min_or_second(r, splat(0)) - «log_m»)", "0 * log_m", LAYERS),
    Fault("kernels/distillation.inc", "*beyond = «ratio - mean»;", "ratio", LAYERS),
    Fault("kernels/linear_gradient.inc", "> 0 || «args->accumulate», pairs", "0", LAYERS),
    Fault(
        "fusedloss/_lower/tuplets.py", "for slope in «slopes»:", "slopes[:1]", "test_instance.py"
    ),
    Fault("fusedloss/_lower/adaptive.py", "call.target[at] - «edges[i]»", "edges[0]", ADAPTIVE),
    Fault("fusedloss/_lower/adaptive.py", "dx[at] += «by_rows»", "by_rows - dx[at]", ADAPTIVE),
    Fault("fusedloss/_lower/adaptive.py", "losses[at] += «np.log(len(weight))»", "0", ADAPTIVE),
    Fault(
        "fusedloss/_lower/linear.py",
        "if «start == 0» and of is not None:",
        "start < 0",
        LAYERS,
    ),
    Fault(
        "fusedloss/_lower/linear.py",
        "labels[row, at].astype(np.int64) - «classes.start»]",
        "0",
        LAYERS,
    ),
    Fault("kernels/linear_heads.inc", "kept = ~(s < best) & «~found»;", "(found | ~found)", HEADS),
    Fault(
        "kernels/linear_heads.inc",
        "above = «cosine > load(terms->threshold + lane)»;",
        "cosine >= load(terms->threshold + lane)",
        HEADS,
    ),
    Fault(
        "kernels/linear_heads.inc",
        "bent = filters ? zero : s * («offset + cosine»);",
        "offset",
        HEADS,
    ),
    Fault("kernels/margin.inc", "point.threshold = cos(at.theta + «parameter[0]»);", "0", HEADS),
    Fault("kernels/margin.inc", ".penalty_rise = «inside» ?", "1", HEADS),
    Fault(
        "kernels/gemm.inc",
        "const tile_place to = {c.at + i * c.row + j / PANEL * c.panel, c.row, TILE_ROWS, n - j,\n"
        "                                       add || «first»};\n"
        "                const real *columns = b.at + j / PANEL * b.stride;\n"
        "                if (pairs)\n"
        "                    tile_of_listed_rows",
        "0",
        "test_fixtures.py test_linear.py -k filter",
    ),
    # ---- Core and Cython
    Fault(
        "core/pairwise.c",
        "columns ? BLOCK_BYTES / («columns * size») : MOST_BLOCK_ROWS;",
        "columns * size * 64",
        "test_metric.py -k threads",
    ),
    # ---- Python
    Fault(
        "fusedloss/_lower/transform.py",
        "map(operator.index, «argnums if isinstance(argnums, Sequence) else (argnums,)»))",
        "(0,)",
        "test_pointwise.py test_rowwise.py",
    ),
    # ---- Threads
    Fault(
        "core/job.c",
        "end = first + «(left < job->block ? left : job->block)»;",
        "job->block",
        DRIVER,
    ),
    Fault(
        "core/job.c",
        "«blocks * (r + 1) / job->ranges»;",
        "blocks / job->ranges * (r + 1)",
        THREADS,
    ),
    Fault(
        "core/job.c",
        "at = (taking){job, «poll»};",
        "(asked = seconds(), poll)",
        "test_engine.py -k interrupt",
    ),
    Fault("core/job.c", "set_float_mode(«job->float_mode»);", "mode", THREADS),
    Fault("core/job.c", "body(job->context, task, «participant»);", "0", THREADS),
    Fault(
        "core/job.c", "if («poll && poll()»)", "poll && poll() && 0", "test_engine.py -k interrupt"
    ),
    Fault("core/job.c", "if (next < end) dropped += «end - next»;", "1", THREADS),
    Fault(
        "core/job.c",
        "range[«(participant + turn) % job->ranges»];",
        "participant % job->ranges",
        THREADS,
    ),
    Fault("core/pool.c", "if («number < room»)", "1", DRIVER),
    Fault("core/pool.c", "if («atomic_load(&each->waiting)») wake", "0", DRIVER),
    Fault("core/pool.c", "atomic_fetch_add(&each->done, «(unsigned)taken»)", "1", DRIVER),
    Fault(
        "core/pool.c", "if («atomic_load(&each->done) == blocks») return;\n    const", "1", DRIVER
    ),
    Fault("core/pool.c", "«sigfillset(&all_signals);»", "sigemptyset(&all_signals);", SIGNALS),
    Fault(
        "core/pool.c",
        "atomic_store(&workers, «0»);",
        "atomic_load(&workers)",
        "test_threads.py -k 'fork and not torch'",
    ),
    Fault(
        "core/pool.c",
        "if («atomic_load_explicit(&generation, memory_order_relaxed) == born») {",
        "1",
        SIGNALS,
    ),
    Fault("core/threads.c", "return «fl_openmp_inside()» ? 1", "0", "test_engine.py -k inside"),
    Fault(
        "core/threads.c", "depth > 0 && --depth == «0»)", "1", "test_engine.py -k another_thread"
    ),
    Fault("core/threads.c", "*rest == '\\0' || «*rest == ','»)", "0", ENVIRONMENT),
    Fault(
        "core/threads.c",
        "if («thread_override > 0») return thread_override;",
        "0",
        ENVIRONMENT,
    ),
    Fault(
        "core/threads.c",
        "if (threads > 0 && «*rest == '\\0'») return threads;",
        "1",
        ENVIRONMENT,
    ),
    Fault("core/engine.c", "return «outcome.stopped»;", "0", "test_engine.py -k interrupt"),
    # ---- Memory
    Fault("core/memory.c", "if («!memory») {", "0", "test_memory.py"),
    Fault("core/buffers.c", "had - size <= «size / 4»", "size", "test_memory.py"),
    Fault("core/buffers.c", "«counts.in_use -= buffer.size;»", ";", "test_memory.py"),
    Fault(
        "core/buffers.c",
        "most_in_use > wanted ? «most_in_use - wanted» : 0",
        "most_in_use",
        "test_memory.py",
    ),
    Fault("core/buffers.c", "«fl_buffers_empty();»\n        buffer.memory", ";", "test_memory.py"),
    Fault(
        "core/buffers.c",
        "take_oldest(«counts.limit», gone + leaving)",
        "SIZE_MAX",
        "test_memory.py",
    ),
    # ---- Layouts
    Fault(
        "core/layout.c",
        "magnitude(strides[0][e]) > «magnitude(strides[0][e - 1])»",
        "strides[0][e - 1]",
        "test_layouts.py test_pointwise_arrays.py",
    ),
    Fault(
        "core/layout.c",
        "«one_walk &= strides[i][merged] == strides[i][d] * shape[d];»",
        "one_walk = strides[i][merged] == strides[i][d] * shape[d];",
        "test_layouts.py test_pointwise_arrays.py",
    ),
    # ---- Cython
    Fault(
        "fusedloss/_core/core.pyx",
        "each.workspace + <size_t>«participant» * each.workspace_size",
        "0",
        THREADS,
    ),
    Fault("fusedloss/_core/core.pyx", "letter[0] == «NATIVE_ORDER»:", "c'>'", ARRAYS),
    Fault("fusedloss/_core/core.pyx", "return «FL_UINT64»", "FL_INT64", ARRAYS),
    Fault(
        "fusedloss/_core/core.pyx",
        "if «array.view.strides[d] % array.view.itemsize»:",
        "False",
        "test_layouts.py test_any_array.py",
    ),
    Fault("fusedloss/_core/core.pyx", "large.shape[d + «(d >= axis)»]", "(d > axis)", ARRAYS),
    Fault(
        "fusedloss/_core/core.pyx",
        "first[0] += <uintptr_t>«reach»",
        "0",
        "test_errors.py test_pointwise_errors.py",
    ),
    Fault(
        "fusedloss/_core/core.pyx",
        "(other < stride or «(other == stride and e < d)»)",
        "False",
        "test_errors.py test_pointwise_errors.py",
    ),
    Fault(
        "fusedloss/_core/core.pyx",
        "if «i != k and other.held» and not apart",
        "i > k and other.held",
        "test_pointwise_errors.py test_rowwise.py",
    ),
    Fault(
        "fusedloss/_core/core.pyx",
        "or «g.view.readonly»:",
        "False",
        "test_pointwise_errors.py test_rowwise.py",
    ),
    Fault("fusedloss/_core/core.pyx", "position += «ndim»", "ndim - 1", "test_errors.py"),
    Fault(
        "fusedloss/_core/core.pyx",
        "array.view.shape[0] == classes and «array.view.strides[0] == array.view.itemsize»",
        "True",
        "test_layouts.py test_cross_entropy.py",
    ),
    Fault(
        "fusedloss/_core/softmax.pxi",
        "if «s.held» and not apart(&grad.view, &s.view)",
        "False",
        "test_errors.py",
    ),
    Fault(
        "fusedloss/_core/softmax.pxi",
        "and not (\n                «grad.view.buf == z.view.buf and grad.dtype == z.dtype»",
        "True",
        "test_errors.py",
    ),
    Fault(
        "fusedloss/_core/buffers.pxi",
        "«abs(view.strides[order[at - 1]])» < abs(view.strides[d])",
        "-view.strides[order[at - 1]]",
        "test_memory.py",
    ),
    # ---- The torch front
    Fault(
        "fusedloss/_core/calls.pxi",
        "gradients, ctx.gradients = ctx.gradients, «None»\n",
        "ctx.gradients",
        BACKWARD,
    ),
    Fault("fusedloss/_core/calls.pxi", "if «given == 1»:", "True", BACKWARD),
    Fault(
        "fusedloss/torch/_autograd.py",
        "if «any([x.dtype is not torch.bfloat16 for x in kept])»:",
        "False",
        SCALING,
    ),
    Fault(
        "fusedloss/torch/_autograd.py", "if «abs(math.frexp(scale)[0]) == 0.5»:", "True", SCALING
    ),
    Fault(
        "fusedloss/_core/calls.pxi",
        "if «k >= call.differentiable» or",
        "False",
        "test_torch_functional.py test_torch_metric.py",
    ),
    Fault(
        "fusedloss/torch/_softmax.py",
        "silent = silent | «(sample_weight == 0)»",
        "(sample_weight < 0)",
        "test_torch_autograd.py -k count_nothing",
    ),
    Fault(
        "fusedloss/torch/_softmax.py",
        "counts * «weight[labels].reshape(counts.shape)»",
        "1",
        "test_torch_every_size.py test_torch_functional.py",
    ),
    Fault(
        "fusedloss/torch/_pairs.py",
        "(«kind.nonzero if nonzero else kind.losses»).sum()",
        "kind.losses",
        "test_torch_metric.py",
    ),
    Fault(
        "fusedloss/torch/_pairs.py",
        "squares < «sums / 256»",
        "0 * sums",
        "test_torch_metric.py",
    ),
    Fault(
        "fusedloss/torch/_margin.py",
        "torch.where(«theta <= math.pi - m», torch.cos(theta + m)",
        "theta <= math.pi",
        "test_torch_margin.py",
    ),
    Fault(
        "fusedloss/torch/_margin.py",
        "norms = «norms.detach().clamp(1e-3, 100)»",
        "norms.detach()",
        "test_torch_margin.py",
    ),
    Fault(
        "fusedloss/torch/_unit.py",
        "norm = torch.linalg.vector_norm(scaled, «root», -1, keepdim=True)",
        "2",
        "test_torch_metric.py",
    ),
    Fault(
        "fusedloss/torch/_linear.py",
        "(x.masked_fill(«silent.unsqueeze(-1)», 0), *tensors[1:])",
        "silent.unsqueeze(-1) & False",
        "test_torch_linear.py",
    ),
    # ---- Lowering and checks
    Fault(
        "fusedloss/_lower/pairs.py",
        "if «b.shape[0] < a.shape[0]»:\n        raise",
        "False",
        "test_metric.py -k first_tower",
    ),
    Fault(
        "kernels/contrastive.inc",
        "add_hinge(&sums[1], x, «x >= 0», push",
        "x > 0",
        "test_metric.py -k threshold_consistent_margin_is",
    ),
    Fault(
        "kernels/contrastive.inc",
        "store(row->by_positive + k, «2 * pull» * e);",
        "pull",
        "test_self_supervised.py -k gradients",
    ),
    Fault(
        "fusedloss/_lower/self_supervised.py",
        "np.multiply(units[k], «along», out=units[k])",
        "0 * along",
        "test_self_supervised.py -k gradients",
    ),
    Fault(
        "fusedloss/_lower/self_supervised.py",
        "is_short = «(deviation < 1)» & (deviation > 0)",
        "(deviation <= 1)",
        "test_self_supervised.py -k deviations",
    ),
    Fault(
        "kernels/pairwise_pack.inc",
        "== COLUMN_SUMS && «j < args->rows» && !is_masked",
        "1",
        METRIC,
    ),
    Fault(
        "fusedloss/sampling.py",
        "chosen[y[«counted»]] = True",
        "...",
        "test_torch_margin.py",
    ),
    Fault(
        "fusedloss/_check/sequences.py",
        "bad = used & ((targets < 0) | («targets >= classes») | (targets == blank))",
        "targets > classes",
        "test_sequences.py",
    ),
    Fault(
        "fusedloss/torch/_autograd.py",
        "[«wide(x)» if isinstance(x, Tensor) else x for x in tensors]",
        "x",
        "test_distributed.py -k under_autocast",
    ),
    Fault(
        "fusedloss/torch/distributed/gathered.py",
        "rows_of_all(«x + sum(of[name][: dist.get_rank(group)])», of_ranks, group)",
        "x",
        "test_distributed.py -k gathered",
    ),
    Fault(
        "fusedloss/_lower/pairs.py",
        "odd = silent[«~np.isfinite(x[silent]).all(axis=1)»]",
        "np.zeros(len(silent), bool)",
        "test_listed_pairs.py",
    ),
)
