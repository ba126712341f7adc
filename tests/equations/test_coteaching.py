"""Co-teaching's selections by hand; CDR's critical parameters by hand."""

import pytest
import torch

from labelfix.equations import cdr, coteaching

LOSS = torch.tensor([0.9, 0.1, 0.5, 0.3, 0.7, 0.2])


def test_the_kept_share_falls_to_the_clean_share():
    shares = [coteaching.kept_share(progress, 0.4) for progress in (0, 0.5, 1, 3)]
    assert shares == pytest.approx([1, 0.8, 0.6, 0.6])


def test_small_losses_by_hand():
    assert coteaching.smallest_losses(LOSS, 0.5).tolist() == [1, 5, 3]
    assert coteaching.smallest_losses(LOSS, 1.0).tolist() == [1, 5, 3, 2, 4, 0]
    assert coteaching.smallest_losses(LOSS, 0.0).tolist() == [1]


def test_disputed_rows_by_hand():
    first = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    second = torch.tensor([[0.1, 0.9], [0.3, 0.7], [0.4, 0.6]])
    assert coteaching.disputed(first, second).tolist() == [True, False, True]
    chosen = coteaching.smallest_losses_of_disputed(
        LOSS, torch.tensor([True, False, True, False, True, False]), 0.7
    )
    assert chosen.tolist() == [2, 4]
    none = torch.zeros(6, dtype=torch.bool)
    assert coteaching.smallest_losses_of_disputed(LOSS, none, 0.5).tolist() == [1, 5, 3]


def test_critical_parameters_by_hand():
    weight = torch.tensor([[1.0, -2.0], [0.5, 0.1]])
    slope = torch.tensor([[0.3, 0.2], [1.0, 9.0]])  # criticality .3 .4 .5 .9
    bias, bias_slope = torch.zeros(2), torch.tensor([1.0, -1.0])
    found = cdr.critical_gradients([weight, bias], [slope, bias_slope], 0.5)
    assert found[0].tolist() == [[0, 0], [0.5, 4.5]]
    assert found[1].tolist() == [0.5, -0.5]
    whole = cdr.critical_gradients([weight], [slope], 0.0)
    assert torch.equal(whole[0], slope)
    assert torch.allclose(
        cdr.criticality([weight], [slope])[0], torch.tensor([[0.3, 0.4], [0.5, 0.9]])
    )
    with pytest.raises(ValueError, match="noise_rate"):
        cdr.critical_gradients([weight], [slope], 1.0)
