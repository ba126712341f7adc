"""A trained net is made again from its card."""

import numpy as np
import pandas as pd
import pytest
from retrain_runs import config, opened

from labelfix.errors import InputError
from labelfix.workflows import retrain


def test_a_trained_net_is_made_again_from_its_card(features_run, images_run, tmp_path):
    from labelfix.nets.classifiers import predict_logits
    from labelfix.workflows.model_files import load_model

    for (_, run), method in ((features_run, "ce"), (images_run, "coteaching")):
        found, out = opened(run, tmp_path), tmp_path / method
        retrain.train_on(found, out, config(method=method, epochs=1))
        net, card = load_model(out)
        assert card.method == method
        assert card.class_names == ("ant", "bee", "cat")
        assert card.data.rows == len(found.labels)
        frame = pd.read_parquet(out / "predictions.parquet")
        logits = predict_logits(net, found.train.source)
        assert np.allclose(logits.softmax(1), np.stack(list(frame["probabilities"])), atol=1e-6)
        assert np.allclose(-logits.logsumexp(1), frame["energy"], atol=1e-5)
    with pytest.raises(InputError, match="there is no trained model"):
        load_model(tmp_path / "nothing")
