"""
What temperature does in distillation
=====================================

A confident teacher's probabilities say little but which class is right. Divided by a temperature,
its logits also show which wrong classes it finds similar, and that is what the student learns. The
factor :math:`T^2` in the loss keeps the gradient's size while T moves its weight to those classes.
"""

import matplotlib.pyplot as plt
import numpy as np

import fusedloss as fl

names = ["cat", "dog", "fox", "car", "bus", "ship"]
teacher = np.array([[9.0, 6.0, 5.0, 1.0, 0.5, 0.0]])
student = np.zeros_like(teacher)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
place, width = np.arange(len(names)), 0.26
for number, temperature in enumerate([1.0, 3.0, 10.0]):
    probabilities = fl.softmax(teacher / temperature)
    loss, gradient = fl.value_and_grad(fl.distillation_loss)(
        student, teacher, temperature=temperature
    )
    offset = place + (number - 1) * width
    left.bar(offset, probabilities[0], width, label=f"T = {temperature:g}")
    right.bar(offset, -gradient[0], width)
left.set(title="what the teacher says", ylabel="probability")
right.set(title="where it pulls a student that knows nothing", ylabel="- gradient")
right.axhline(0, color="black", linewidth=0.8)
for axes in (left, right):
    axes.set_xticks(place, names)
left.legend()
plt.show()
