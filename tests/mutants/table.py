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
SEGMENTATION = "test_fixtures.py test_segmentation.py"
METRIC = "test_fixtures.py test_metric.py"
HEADS = "test_fixtures.py test_margin.py"

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
    # ---- Segmentation
    Fault("kernels/segmentation.inc", "s.others = «max - max»;", "max * 0", SEGMENTATION),
    Fault("kernels/segmentation.inc", "const ivec above = «z > max»;", "z >= max", SEGMENTATION),
    Fault("kernels/segmentation.inc", "p * («1 - t»));", "splat(1)", SEGMENTATION),
    Fault("kernels/segmentation.inc", "«slopes[2 * c + 1]» * t;", "slopes[2 * c]", SEGMENTATION),
    Fault(
        "kernels/segmentation.inc",
        "entropies += blend(counted != 0, «entropy», splat(0));",
        "entropy * 2",
        SEGMENTATION,
    ),
    Fault(
        "kernels/segmentation.inc",
        "«sums[v] += lane_sum(load(lanes + v * LANES));»",
        "sums[v] = lane_sum(load(lanes + v * LANES));",
        SEGMENTATION,
    ),
    # ---- Sequences
    Fault("kernels/ctc.inc", "if («labels[k] != labels[k - 1]») s.skips", "1", "test_sequences.py"),
    Fault(
        "kernels/ctc.inc",
        "high + log_of_sum(1 + vexp_nonpositive(«low - base»));",
        "low",
        "test_sequences.py",
    ),
    # ---- Pairs
    Fault(
        "kernels/pairwise.inc",
        "if (has_sums) «sum += column_sums_of(args, group)[j];»",
        "sum = group ? sum : column_sums_of(args, group)[j];",
        METRIC,
    ),
    Fault("kernels/pairwise.inc", "if («inverse > 0»)", "1", METRIC),
    Fault(
        "kernels/pairwise.inc", "norm < least ? «-factors[i]» : factors[i]", "factors[i]", METRIC
    ),
    Fault("kernels/pairwise.inc", "if («weight == 0») row->nonzero[i] = 0;", "0", METRIC),
    Fault(
        "kernels/pairwise.inc",
        "j < args->columns ? (real)«factor_of_anchor(args, j)» : 0",
        "1",
        METRIC,
    ),
    Fault("kernels/pairwise.inc", "store(at, «add» ? load(at)", "0", METRIC),
    Fault(
        "kernels/pairwise.inc",
        "highest = max_or_second(«load(exponentials_of(args, group) + j)», highest);",
        "highest",
        METRIC,
    ),
    Fault(
        "kernels/contrastive.inc",
        "const ivec above = «x > 0»;\n"
        "        loss[0] += blend(above, x, zero);\n"
        "        nonzero[0] += blend(above, one, zero);\n"
        "        store(row->by_positive + k, blend(above, splat((real)row->factor[0])",
        "x >= 0",
        METRIC,
    ),
    Fault(
        "kernels/contrastive.inc",
        "at < bins ? (int64_t)at : «(int64_t)bins - 1»;",
        "(int64_t)bins",
        METRIC,
    ),
    Fault("kernels/contrastive.inc", "if (!(«at > 0»)) bin = 0;", "at > 1", METRIC),
    Fault("kernels/contrastive.inc", "row->slopes[0] += «lane_sum(products)»;", "0", METRIC),
    Fault("kernels/triplets.inc", "(d > positive) & («x >= 0»);", "x > 0", METRIC),
    # ---- Heads
    Fault("kernels/margin.inc", "kept = ~(s < best) & «~found»;", "(found | ~found)", HEADS),
    Fault(
        "kernels/margin.inc",
        "above = «cosine > load(terms->threshold + lane)»;",
        "cosine >= load(terms->threshold + lane)",
        HEADS,
    ),
    Fault(
        "kernels/margin.inc",
        "blend(above, filters ? zero : s * («t + cosine»), s)",
        "splat(t)",
        HEADS,
    ),
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
)
