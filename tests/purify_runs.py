"""Runs of purify on files, and a listener to what they say."""

from contextlib import contextmanager

from labelfix import inputs
from labelfix.workflows import purify
from labelfix.workflows.settings import PurifyConfig


class Listener:
    """A reporter that remembers."""

    def __init__(self):
        self.lines, self.tasks = [], []

    def say(self, line):
        self.lines.append(line)

    @contextmanager
    def task(self, name):
        self.tasks.append(name)
        yield lambda done, total, remark: None


def purify_features(files, out, listener=None, fresh=False, **settings):
    dataset = inputs.read(files.data, files.clean, features=files.features)
    config = PurifyConfig(**{"device": "cpu", "method": "dmlp"} | settings)
    return purify.purify_dataset(
        dataset, out, config, fresh=fresh, report=listener or Listener()
    ).to_dict()


def purify_images(folder, out, listener=None, data="data.csv", clean="clean.csv", **settings):
    dataset = inputs.read(folder / data, folder / clean)
    config = PurifyConfig(
        **{"epochs": 1, "backbone": "smallconv", "device": "cpu", "method": "dmlp"} | settings
    )
    return purify.purify_dataset(dataset, out, config, report=listener or Listener()).to_dict()
