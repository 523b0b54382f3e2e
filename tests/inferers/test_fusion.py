"""The branches' maps become one by a rule; a modality that is missing takes no part."""

from __future__ import annotations

import pytest
import torch

from bundle.inferers import FuseMapsd

# Three branches, two pixels; trusted 3, 1 and 0.
CAMS = torch.tensor([[0.8, 0.5], [0.2, 0.5], [1.0, 0.0]]).reshape(3, 1, 1, 2)
TRUST = torch.tensor([3.0, 1.0, 0.0])


def fused(rule: str, trust: torch.Tensor | None = TRUST, **options) -> list[float]:
    pred = {"cam": CAMS, "logits": torch.zeros(3, 2)} | ({} if trust is None else {"trust": trust})
    found = FuseMapsd(rule=rule)({"pred": pred, **options})["cams"]
    return found[-1].flatten().tolist()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("maximum", [1.0, 0.5]),
        ("mean", [2.0 / 3, 1.0 / 3]),
        ("weighted", [(3 * 0.8 + 1 * 0.2) / 4, 0.5]),
        # log odds ln 4 and -ln 4, weighted 3 to 1: ln 4 / 2, odds 2
        ("product", [2.0 / 3, 0.5]),
    ],
)
def test_value_by_hand(rule, expected):
    assert fused(rule) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "trust", [None, torch.zeros(3), torch.full((3,), 0.2)], ids=["unknown", "none", "alike"]
)
def test_without_trust_or_with_equal_trust_the_weighted_mean_is_the_mean(trust):
    assert fused("weighted", trust) == pytest.approx(fused("mean"))


def test_a_product_is_high_where_all_agree():
    cams = torch.tensor([[0.9, 0.9, 0.1], [0.9, 0.1, 0.1]]).reshape(2, 1, 1, 3)
    pred = {"cam": cams, "logits": torch.zeros(2, 3), "trust": torch.ones(2)}
    agreed = FuseMapsd(rule="product")({"pred": pred})["cams"][-1].flatten()
    assert agreed.tolist() == pytest.approx([0.9, 0.5, 0.1])


def test_maps_of_0_and_1_stay_finite_and_in_range():
    cams = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]).reshape(2, 1, 1, 3)
    pred = {"cam": cams, "logits": torch.zeros(2, 3), "trust": torch.ones(2)}
    agreed = FuseMapsd(rule="product")({"pred": pred})["cams"][-1].flatten()
    assert agreed.tolist() == pytest.approx([0, 1, 0.5], abs=0.01)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("maximum", [1.0, 0.5]),
        ("mean", [0.6, 0.25]),
        ("weighted", [0.2, 0.5]),  # the first is missing, the third is not trusted
        ("product", [0.2, 0.5]),
    ],
)
def test_a_missing_branch_takes_no_part(rule, expected):
    available = torch.tensor([False, True, True])
    assert fused(rule, available=available) == pytest.approx(expected, abs=1e-6)


def test_the_map_of_a_missing_branch_is_0():
    pred = {"cam": CAMS, "logits": torch.zeros(3, 2)}
    found = FuseMapsd()({"pred": pred, "available": torch.tensor([True, True, False])})["cams"]
    assert not found[2].any()
    assert found[-1].flatten().tolist() == pytest.approx([0.8, 0.5])


def test_which_maps_are_present_is_told():
    fuse = FuseMapsd(names=["t1", "t2", "flair"], groups=["t1-t2", "flair"])
    pred = {"cam": CAMS, "logits": torch.zeros(3, 2)}
    assert fuse({"pred": pred})["present"].all()
    found = fuse({"pred": pred, "available": torch.tensor([True, False, False])})["present"]
    assert found.tolist() == [True, False, False, True, False, True]  # a group without a branch shows nothing


def test_a_missing_branch_says_nothing_of_slices():
    pred = {"cam": CAMS, "logits": torch.zeros(3, 2)}
    found = FuseMapsd()({"pred": pred, "available": torch.tensor([True, True, False])})["probabilities"]
    assert found[:2].eq(0.5).all()
    assert found[2].isnan().all()


def test_one_branch_for_all_modalities_does_not_mind_a_missing_one():
    pred = {"cam": CAMS[:1], "logits": torch.zeros(1, 2)}
    found = FuseMapsd()({"pred": pred, "available": torch.tensor([True, False, False])})["cams"]
    assert torch.equal(found, CAMS[:1].repeat(2, 1, 1, 1))


def test_a_group_is_fused_by_the_same_rule_from_those_that_are_there():
    fuse = FuseMapsd(names=["t1", "t2", "flair"], groups=["t1-t2", "flair"], rule="weighted")
    pred = {"cam": CAMS, "logits": torch.zeros(3, 2), "trust": TRUST}
    whole = fuse({"pred": pred})["cams"]
    assert whole.shape == (6, 1, 1, 2)
    assert whole[3].flatten().tolist() == pytest.approx([0.65, 0.5])
    assert torch.equal(whole[4], CAMS[2])  # alone, it counts whatever its trust
    partial = fuse({"pred": pred, "available": torch.tensor([True, True, False])})["cams"]
    assert torch.equal(partial[3], whole[3])
    assert not partial[4].any()


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(ValueError, match="fusion: 'maximal' is unknown; did you mean maximum"):
        FuseMapsd(rule="maximal")
