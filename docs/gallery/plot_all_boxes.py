"""
Losses of boxes
===============

A box slides past another of the same size, then one of half its width does. While they overlap,
each loss is about 1 less the overlap; what tells them apart is the slope where boxes do not
meet at all, and the terms for the distance of centres and for the shape.
"""

import numpy as np

import fusedloss as fl
from families import Family, Path, draw

shift = np.linspace(-2.5, 2.5, 241)


def sliding(width):
    """Boxes x1, y1, x2, y2 of a width, one high."""
    zero = np.zeros_like(shift)
    return np.stack([shift - width / 2, zero, shift + width / 2, zero + 1], axis=-1)[:, np.newaxis]


still = np.array([[-0.5, 0.0, 0.5, 1.0]])
for width in (1.0, 0.5):
    draw(
        Path(f"shift of a box {width:g} wide", shift, sliding(width)),
        [
            Family(fl.generalized_box_iou_loss, (still,)),
            Family(fl.distance_box_iou_loss, (still,)),
            Family(fl.complete_box_iou_loss, (still,)),
        ],
        columns=3,
    )
