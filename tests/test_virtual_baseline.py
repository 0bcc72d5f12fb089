"""Candidates: wider than the trial, eligible ones like those published, the same however they are divided."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.errors import UserError
from equipoise.protocol import criteria, load
from equipoise.virtual import load_population
from equipoise.virtual.baseline import asked_at_entry, candidates, load_baseline, site_blocks

POPULATION = load_population("hiv_il2")


def draw(name, count, first=0, trial=0, seed=1):
    protocol = load(name)
    return candidates(
        POPULATION, load_baseline(protocol.simulation.baseline), protocol, seed, trial, first, count
    )


def eligible(name, drawn):
    protocol = load(name)
    met = np.ones(len(drawn.count), bool)
    for rule in protocol.eligibility.criteria:
        truth = criteria.evaluate_columns(
            criteria.compile(rule.require or rule.exclude, protocol.items), drawn.columns
        )
        met &= truth == (1 if rule.require else 0)
    return met


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_every_item_asked_at_entry_has_an_answer(name):
    protocol = load(name)
    drawn = draw(name, 300)
    assert set(asked_at_entry(protocol)) <= set(drawn.columns)
    for item, column in drawn.columns.items():
        limits = protocol.items[item].range
        if limits is not None:
            known = column[~np.isnan(column)]
            assert ((known >= limits[0]) & (known <= limits[1])).all(), item


@pytest.mark.parametrize("name", ["silcaat", "esprit"])
def test_candidates_do_not_depend_on_how_they_are_divided(name):
    whole = draw(name, 600)
    parts = [draw(name, 100, first) for first in range(0, 600, 100)]
    for item in whole.columns:
        joined = np.concatenate([part.columns[item] for part in parts])
        assert np.array_equal(whole.columns[item], joined, equal_nan=joined.dtype != object), item
    for field in (
        "count",
        "nadir",
        "age",
        "female",
        "prior_aids",
        "viraemic",
        "log10_level",
        "country",
        "site",
    ):
        assert np.array_equal(getattr(whole, field), np.concatenate([getattr(part, field) for part in parts]))


def test_trials_and_seeds_have_other_people():
    assert not np.array_equal(draw("esprit", 50).count, draw("esprit", 50, trial=1).count)
    assert not np.array_equal(draw("esprit", 50).count, draw("esprit", 50, seed=2).count)


def test_eligible_candidates_of_silcaat_are_like_the_published_participants():
    drawn = draw("silcaat", 40_000)
    met = eligible("silcaat", drawn)
    assert 0.3 < met.mean() < 0.8
    assert np.median(drawn.columns["cd4"][met]) == pytest.approx(202, abs=3)
    assert np.median(drawn.nadir[met]) == pytest.approx(60, abs=3)
    assert drawn.age[met].mean() == pytest.approx(41.9, abs=0.3)
    assert drawn.age[met].std() == pytest.approx(8.7, abs=0.3)
    assert drawn.female[met].mean() == pytest.approx(0.165, abs=0.015)


def test_eligible_candidates_of_esprit_are_like_the_published_participants():
    drawn = draw("esprit", 40_000)
    met = eligible("esprit", drawn)
    quartiles = np.quantile(drawn.columns["cd4"][met], [0.25, 0.5, 0.75])
    assert quartiles == pytest.approx([373, 458, 586], rel=0.015)
    assert np.median(drawn.nadir[met]) == pytest.approx(197, abs=5)
    assert drawn.age[met].mean() == pytest.approx(40.8, abs=0.3)
    assert drawn.age[met].std() == pytest.approx(9.0, abs=0.3)
    assert drawn.female[met].mean() == pytest.approx(0.185, abs=0.01)
    assert 1 - drawn.viraemic[met].mean() == pytest.approx(0.795, abs=0.01)
    assert drawn.prior_aids[met].mean() == pytest.approx(0.25, abs=0.01)


def test_the_nadir_never_lies_above_the_true_count():
    for name in ("silcaat", "esprit"):
        drawn = draw(name, 5000)
        assert (drawn.nadir <= drawn.count + 1e-9).all()
        assert (drawn.nadir >= 1.0).all()


def test_those_selected_for_a_low_count_are_truly_a_little_higher():
    """Regression to the mean: eligibility is judged on measurements."""
    drawn = draw("silcaat", 40_000)
    low = drawn.columns["cd4"] < 60
    assert drawn.count[low].mean() > drawn.columns["cd4"][low].mean() + 3


def test_one_earlier_illness_for_those_with_one_and_none_for_the_others():
    drawn = draw("silcaat", 3000)
    illnesses = sum(column for name, column in drawn.columns.items() if name.startswith("hist_"))
    women = drawn.female == 1
    assert (illnesses[drawn.prior_aids == 0] == 0).all()
    assert (illnesses[(drawn.prior_aids == 1) & women] == 1).all()


def test_details_of_an_illness_are_unknown_to_those_without_it():
    drawn = draw("silcaat", 3000)
    without = drawn.columns["hist_pcp"] == 0
    assert np.isnan(drawn.columns["pcp_resolved_months"][without]).all()
    assert not np.isnan(drawn.columns["pcp_resolved_months"][~without]).any()


def test_countries_and_sites_follow_the_accrual():
    protocol = load("silcaat")
    weights = list(protocol.simulation.accrual.values())
    drawn = draw("silcaat", 40_000)
    shares = np.bincount(drawn.country, minlength=len(weights)) / 40_000
    assert shares == pytest.approx(np.array(weights) / sum(weights), abs=0.01)
    blocks = site_blocks(weights, protocol.simulation.sites)
    assert sum(blocks) == protocol.simulation.sites
    assert (drawn.site.min(), drawn.site.max()) == (1, protocol.simulation.sites)
    country_of = np.repeat(np.arange(len(blocks)), blocks)
    assert np.array_equal(country_of[drawn.site - 1], drawn.country)


def test_a_country_has_at_least_one_site():
    assert site_blocks([1, 1, 1000], 5) == [1, 1, 3]
    assert site_blocks([5, 5, 5], 1) == [1, 1, 1]


def test_an_item_without_an_answer_is_named_with_the_mend():
    protocol = load("esprit")
    items = dict(protocol.items)
    items["shoe_size"] = items["age"].model_copy(update={"label": "Shoe size"})
    with pytest.raises(
        UserError, match=r"ESPRIT: items.shoe_size: .*add `shoe_size` under `items` in baseline_esprit.yaml"
    ):
        candidates(
            POPULATION, load_baseline("esprit"), protocol.model_copy(update={"items": items}), 1, 0, 0, 10
        )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  psoriasis: {probability: 0.015}",
            "  psoriasis: {probability: 1.5}",
            "items.psoriasis.probability",
        ),
        ("  psoriasis: {probability: 0.015}", "  psoriasis: {probability: 0.1, value: 3}", "exactly one of"),
        (
            "  psoriasis: {probability: 0.015}",
            "  psoriasis: {probability: 0.1, when: gout}",
            "there is no item `gout`",
        ),
        ("female: {share: 0.186", "female: {share: 18.6", "female.share"),
        ("low: 20, high: 2200", "low: 2200, high: 20", "low must be below high"),
    ],
)
def test_a_wrong_baseline_file_gets_one_clear_message(tmp_path, old, new, message):
    from importlib import resources

    text = (resources.files("equipoise.virtual") / "library" / "baseline_esprit.yaml").read_text(
        encoding="utf-8"
    )
    assert old in text
    path = tmp_path / "people.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_baseline(path)
    assert message in str(error.value)
