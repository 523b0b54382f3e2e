"""A training starts from the branches that an earlier one has of the same modalities."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch

from bundle.handlers import start_from_weights
from bundle.networks import BranchEnsemble, CamUNet


def ensemble(*modalities: str, seed: int = 0, width: int = 2, early: bool = False) -> BranchEnsemble:
    torch.manual_seed(seed)
    made = BranchEnsemble(modalities, partial(CamUNet, width=width, levels=1), early)
    made.trust.copy_(torch.arange(1.0, len(made.trust) + 1) / 10)
    return made


def saved(network: BranchEnsemble, folder) -> str:
    folder.mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps({"modalities": list(network.modalities)}))
    return str(folder / "model.pt")


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def test_branches_go_to_modalities_of_their_name_with_their_trust(tmp_path, capsys):
    theirs = ensemble("t1", "t1c", "t2", "flair")
    ours, kept = ensemble("flair", "t1c", seed=1), ensemble("flair", "t1c", seed=2)
    start_from_weights([ours, kept], saved(theirs, tmp_path))
    for network in (ours, kept):
        assert same(network.branches[0], theirs.branches[3])
        assert same(network.branches[1], theirs.branches[1])
        assert network.trust.tolist() == pytest.approx([0.4, 0.2])
    assert f"pretrained: flair, t1c from {tmp_path / 'model.pt'}\n" in capsys.readouterr().out


def test_a_branch_that_is_new_stays_and_all_are_trusted_as_before(tmp_path, capsys):
    theirs, ours = ensemble("flair"), ensemble("adc", "flair", seed=1)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    start_from_weights([ours], saved(theirs, tmp_path))
    assert same(ours.branches[1], theirs.branches[0])
    stays = {name: value for name, value in ours.state_dict().items() if not name.startswith("branches.1.")}
    assert all(torch.equal(value, before[name]) for name, value in stays.items())
    assert "pretrained: flair from" in capsys.readouterr().out


def test_one_branch_of_all_modalities_wants_the_same_ones(tmp_path):
    theirs = ensemble("flair", "t1c", early=True)
    ours = ensemble("flair", "t1c", early=True, seed=1)
    start_from_weights([ours], saved(theirs, tmp_path))
    assert same(ours, theirs)
    with pytest.raises(
        ValueError, match="sees flair, t1c at once, expected t1c, flair; give --modalities flair,t1c"
    ):
        start_from_weights([ensemble("t1c", "flair", early=True)], saved(theirs, tmp_path))


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        (ensemble("t2", "adc"), "knows t1c, flair, none of t2, adc"),
        (
            ensemble("flair", width=4),
            "is of another network; give the config .*, overlays, --width and --levels",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(tmp_path, ours, message):
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        start_from_weights([ours], saved(ensemble("t1c", "flair"), tmp_path))
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pt does not exist"):
        start_from_weights([ensemble("flair")], str(tmp_path / "none.pt"))
    path = saved(ensemble("flair"), tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected model\.json beside it"):
        start_from_weights([ensemble("flair")], path)
