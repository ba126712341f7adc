"""CLID-MU on digits and blobs, without a checked row."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from bilevel_tasks import LOOP, quick, task_of, trainer_of
from builders import step_of
from sklearn.datasets import load_digits

from labelfix.annotations import Annotations
from labelfix.decide import no_clean_set
from labelfix.nets.feature_net import student_net
from labelfix.predictors.bilevel.cross_fit import cross_fit
from labelfix.predictors.bilevel.fold_data import FeatureRows, FoldTask
from labelfix.predictors.bilevel.registry import METHODS, sized


def digits(noise):
    features, right = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    flipped = random.random(len(right)) < noise
    given = np.where(flipped, (right + random.integers(1, 10, len(right))) % 10, right)
    rows = FeatureRows(features.astype(np.float32), noise=0.7)
    task = FoldTask(
        source=rows, frozen=rows,
        annotations=Annotations.of(
            given.astype(np.int32), np.full(len(right), -1, np.int32),
            (random.permutation(len(right)) % 5).astype(np.int8), 10,
        ),
        make_student=partial(student_net, rows.columns, 10, 64),
    )  # fmt: skip
    return task, right


@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.95), (0.4, 0.9)])
def test_clid_on_digits(noise, least):
    task, right = digits(noise)
    method, _ = sized(METHODS["clid"], task)
    method = replace(method, config=replace(method.config, lr=0.01))
    found = cross_fit(task, method, replace(LOOP, epochs=6))
    assert (found.log_probabilities.argmax(1) == right).mean() > least
    if not noise:  # right labels stay as they are
        given, predictions = task.annotations.given, [found.log_probabilities]
        soft = no_clean_set.estimate(predictions, given).posterior(predictions, given)
        assert (soft.argmax(1) != given).mean() < 0.003


def test_the_weight_net_learns_to_distrust_rows_of_high_loss(blobs):
    made = blobs(rows=300, noise=0.3)
    trainer = trainer_of(task_of(made), quick("clid", student_steps=1, teacher_lr=0.02))
    for epoch in range(4):
        step = step_of(epoch, epochs=4)
        for rows in trainer.epoch_rows(step).split(32):
            trainer.step(rows, step)
    easy, hard = trainer.teacher.net(torch.tensor([0.1, 3.0])).tolist()
    assert hard < 0.7 * easy
