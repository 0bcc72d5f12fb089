"""The bundled protocols say what the trials' records say, and nothing without a source or a mark."""

from __future__ import annotations

import math
from typing import Any

import pytest

from equipoise.protocol import Protocol, bundled, criteria, load
from equipoise.protocol.checking import blocks, source_keys
from equipoise.protocol.quantities import days

SILCAAT, ESPRIT = load("silcaat"), load("esprit")
VANGUARD, STALWART, EPO = load("vanguard"), load("stalwart"), load("erythropoietin")


def eligible(protocol: Protocol, person: dict[str, Any]) -> dict[str, bool | None]:
    """Each criterion by id: whether it lets this person in."""
    found: dict[str, bool | None] = {}
    complete = criteria.derive(person, protocol.items)
    for criterion in protocol.eligibility.criteria:
        text = criterion.require or criterion.exclude or ""
        value = criteria.evaluate(criteria.compile(text, protocol.items), complete)
        assert value is None or isinstance(value, bool)
        found[criterion.id] = value if criterion.require or value is None else not value
    return found


def failing(protocol: Protocol, person: dict[str, Any]) -> list[str]:
    return [name for name, met in eligible(protocol, person).items() if met is not True]


def unremarkable(protocol: Protocol) -> dict[str, Any]:
    """Somebody without any history, whose booleans are all no."""
    return {name: False for name, item in protocol.items.items() if item.type == "boolean"}


SILCAAT_PERSON = unremarkable(SILCAAT) | {
    "consent": True, "follow_up_agreed": True, "age": 40, "cd4_historical": 180, "cd4_visit1": 220,
    "hiv_rna_historical": 400, "hiv_rna_visit1": 49, "hiv_elisa_positive": True,
    "hiv_western_blot_positive": True,
    "on_art": True, "art_drugs": 3, "art_stable_months": 12, "art_days_stopped": 0, "karnofsky": 90,
    "contraception_effective": True, "ast_uln": 1, "bilirubin_uln": 1, "amylase_uln": 1, "proteinuria": 0,
    "creatinine_uln": 1, "neutrophils": 2500, "haemoglobin": 14, "platelets": 200000,
}  # fmt: skip
ESPRIT_PERSON = unremarkable(ESPRIT) | {"hiv_positive": True, "on_art": True, "age": 40, "cd4": 450}


# --- eligibility --------------------------------------------------------------------------------------------


def test_somebody_unremarkable_is_eligible() -> None:
    assert failing(SILCAAT, SILCAAT_PERSON) == []
    assert failing(ESPRIT, ESPRIT_PERSON) == []


@pytest.mark.parametrize(
    ("changes", "criterion"),
    [
        ({"art_drugs": 1, "art_includes_pi": True}, "I1"),
        ({"art_stable_months": 3.9}, "I1"),
        ({"art_drugs": 2}, "I2"),
        ({"art_days_stopped": 7}, "I3"),
        ({"hiv_western_blot_positive": False}, "I4"),
        ({"cd4_historical": 290, "cd4_visit1": 310}, "I5"),
        ({"cd4_historical": 60, "cd4_visit1": 39}, "I5"),
        ({"cd4_historical": 300, "cd4_visit1": 200}, "I6"),
        ({"cd4_historical": 49, "cd4_visit1": 200}, "I6"),
        ({"hiv_rna_historical": 10000}, "I7"),
        ({"hiv_rna_visit1": 10000}, "I7"),
        ({"karnofsky": 70}, "I8"),
        ({"age": 17}, "I9"),
        ({"contraception_effective": False}, "I11"),
        ({"ast_uln": 5.1}, "I12"),
        ({"bilirubin_uln": 2.1}, "I13"),
        ({"bilirubin_uln": 5.1, "bilirubin_benign": True}, "I13"),
        ({"amylase_uln": 2.0}, "I14"),
        ({"proteinuria": 2}, "I15"),
        ({"creatinine_uln": 1.6}, "I16"),
        ({"neutrophils": 999}, "I17"),
        ({"haemoglobin": 9.4}, "I18"),
        ({"platelets": 74999}, "I19"),
        ({"htlv1": True}, "I20"),
        ({"follow_up_agreed": False}, "I21"),
        ({"consent": False}, "I22"),
        ({"hist_lymphoma": True, "lymphoma_remission_years": 4, "lymphoma_marrow_positive": False}, "H1"),
        ({"hist_lymphoma": True, "lymphoma_remission_years": 6, "lymphoma_brain": True}, "H1"),
        ({"hist_lymphoma": True, "lymphoma_remission_years": 6, "lymphoma_marrow_positive": True,
          "lymphoma_clear_marrows": 1, "lymphoma_clear_marrow_months": 24}, "H1"),
        ({"hist_candida_oesophageal": True, "candida_symptom_free_months": 24,
          "candida_suppressive_therapy": True}, "H2"),
        ({"hist_cervical_cancer": True, "cervical_cancer_cured_years": 6, "cervical_cancer_metastatic": True},
         "H3"),
        ({"hist_kaposi": True, "kaposi_visceral": True, "kaposi_stable_months": 24}, "H4"),
        ({"hist_kaposi": True, "kaposi_stable_months": 11}, "H4"),
        ({"hist_tuberculosis": True, "tuberculosis_resolved_months": 24,
          "tuberculosis_imaging_stable_months": 24, "tuberculosis_off_therapy_months": 6}, "H5"),
        ({"hist_pcp": True, "pcp_resolved_months": 24, "pcp_imaging_stable_months": 6}, "H6"),
        ({"hist_recurrent_pneumonia": True, "recurrent_pneumonia_free_months": 11}, "H7"),
        ({"hist_salmonella": True, "salmonella_free_months": 11}, "H8"),
        ({"hist_wasting": True, "weight_stable_months": 11}, "H9"),
        ({"hist_toxoplasmosis": True, "toxoplasmosis_resolved_months": 13, "toxoplasmosis_scan_clean": False},
         "H10"),
        ({"hist_cryptosporidiosis": True, "cryptosporidiosis_resolved_months": 13,
          "cryptosporidiosis_off_therapy_months": 13, "cryptosporidiosis_stool_clear": False}, "H11"),
        ({"hist_other_aids": True}, "H12"),
        ({"haemophilia": True, "factor_viii": 5}, "E11"),
        ({"prior_il2": True}, "E25"),
        ({"acute_infection_2_weeks": True}, "E28"),
    ],
)  # fmt: skip
def test_silcaat_excludes(changes: dict[str, Any], criterion: str) -> None:
    assert failing(SILCAAT, SILCAAT_PERSON | changes) == [criterion]


@pytest.mark.parametrize(
    "changes",
    [
        {"art_drugs": 2, "art_includes_pi": True},
        {"art_days_stopped": 6},
        {"hiv_western_blot_positive": False, "hiv_rna_highest_ultrasensitive": 501},
        {"hiv_western_blot_positive": False, "hiv_rna_highest_other": 1501},
        {"cd4_historical": 50, "cd4_visit1": 50},
        {"cd4_historical": 299, "cd4_visit1": 300},  # the second count alone may lie outside: the mean counts
        {"hiv_rna_historical": 9999, "hiv_rna_visit1": 9999},
        {"karnofsky": 80, "age": 18, "ast_uln": 5, "bilirubin_uln": 2, "amylase_uln": 1.9, "proteinuria": 1},
        {"creatinine_uln": 1.5, "neutrophils": 1000, "haemoglobin": 9.5, "platelets": 75000},
        {"bilirubin_uln": 5, "bilirubin_benign": True},
        {"hist_lymphoma": True, "lymphoma_remission_years": 5, "lymphoma_marrow_positive": True,
         "lymphoma_clear_marrows": 2, "lymphoma_clear_marrow_months": 12},
        {"hist_kaposi": True, "kaposi_stable_months": 12},
        {"hist_toxoplasmosis": True, "toxoplasmosis_resolved_months": 12, "toxoplasmosis_scan_clean": True},
        {"haemophilia": True, "factor_viii": 6},
    ],
)  # fmt: skip
def test_silcaat_lets_in(changes: dict[str, Any]) -> None:
    assert failing(SILCAAT, SILCAAT_PERSON | changes) == []


def test_pregnancy_excludes_by_two_rules() -> None:
    assert failing(SILCAAT, SILCAAT_PERSON | {"pregnant": True}) == ["I10", "E24"]


@pytest.mark.parametrize("name", [n for n, i in SILCAAT.items.items() if i.type == "boolean"])
def test_an_unknown_answer_never_admits_where_it_matters(name: str) -> None:
    """Not knowing a yes or no that a criterion rests on leaves that criterion unknown, never met."""
    met = eligible(SILCAAT, SILCAAT_PERSON | {name: None})
    worst = eligible(SILCAAT, SILCAAT_PERSON | {name: not SILCAAT_PERSON[name]})
    for criterion, value in met.items():
        assert value is not True or worst[criterion] is not False


@pytest.mark.parametrize(
    ("changes", "criterion"),
    [
        ({"hiv_positive": False}, "I1"),
        ({"cd4": 299}, "I2"),
        ({"on_art": False}, "I3"),
        ({"age": 17}, "I4"),
        ({"prior_il2": True}, "E1"),
        ({"cancer_chemotherapy": True}, "E2"),
        ({"aids_active_12_months": True}, "E3"),
        ({"other_hiv_illness_12_months": True}, "E4"),
        ({"corticosteroids_45_days": True}, "E5"),
        ({"immune_drugs_45_days": True}, "E5"),
        ({"antiseizure_medication": True}, "E6"),
        ({"inflammatory_bowel_disease": True}, "E7"),
        ({"psoriasis": True}, "E8"),
        ({"optic_neuritis": True}, "E9"),
        ({"autoimmune_disease": True}, "E10"),
        ({"breastfeeding": True}, "E11"),
    ],
)
def test_esprit_excludes(changes: dict[str, Any], criterion: str) -> None:
    assert failing(ESPRIT, ESPRIT_PERSON | changes) == [criterion]


def test_esprit_admits_those_who_start_therapy_at_entry() -> None:
    assert failing(ESPRIT, ESPRIT_PERSON | {"on_art": False, "art_starting": True, "cd4": 300}) == []


def test_values_may_be_this_old() -> None:
    valid = {name: item.valid_for and days(item.valid_for) for name, item in SILCAAT.items.items()}
    assert valid["cd4_historical"] == valid["hiv_rna_visit1"] == 122  # 4 months
    laboratory = ("ast_uln", "bilirubin_uln", "amylase_uln", "proteinuria", "creatinine_uln", "neutrophils",
                  "haemoglobin", "platelets", "htlv1", "pregnant")  # fmt: skip
    assert {valid[name] for name in laboratory} == {28}
    assert valid["toxoplasmosis_scan_clean"] == valid["cryptosporidiosis_stool_clear"] == 30
    assert days(ESPRIT.items["cd4"].valid_for or pytest.fail("no limit")) == 45


# --- dose rules ---------------------------------------------------------------------------------------------


def test_silcaat_doses() -> None:
    drug = SILCAAT.regimens["aldesleukin"]
    assert drug.cycle
    assert drug.induction
    assert drug.goal
    assert drug.maintenance
    assert drug.escalation
    assert str(drug.cycle.dose) == "4.5 MIU"
    assert drug.cycle.administrations == 10
    assert drug.cycle.dose.value * drug.cycle.administrations == 45
    assert (drug.induction.cycles, days(drug.induction.every)) == (6, 56)
    assert [str(rule.rise) for rule in drug.goal.rules] == ["125 cells/mm3", "175 cells/mm3"]
    assert drug.maintenance.from_.day == 336
    assert days(drug.maintenance.review) == 122
    assert [review.day for review in drug.maintenance.extra_reviews] == [397]  # 2 months after week 49
    assert [str(dose) for dose in drug.escalation.to] == ["6 MIU", "7.5 MIU"]
    assert drug.escalation.after == 3
    stop = drug.stop_for_non_response
    assert stop
    assert stop.at_latest
    assert (str(stop.after), str(stop.at_latest)) == ("12 months", "16 months")
    assert drug.cover == "art"
    assert {hold.id for hold in drug.hold_while} == {
        "pregnancy", "breastfeeding", "no_contraception", "oral_contraceptive"
    }  # fmt: skip


def test_esprit_doses() -> None:
    drug = ESPRIT.regimens["aldesleukin"]
    assert drug.cycle
    assert drug.induction
    assert drug.goal
    assert drug.ceiling
    assert drug.minimum_gap
    assert str(drug.cycle.dose) == str(drug.ceiling) == "7.5 MIU"
    assert drug.cycle.dose.value * drug.cycle.administrations == 75
    assert (drug.induction.cycles, days(drug.induction.every)) == (3, 56)
    assert drug.goal.rules[0].multiple == 2
    assert str(drug.goal.rules[1].value) == "1000 cells/mm3"
    assert days(drug.minimum_gap) == 42
    assert drug.escalation is None


def test_vanguard_compares_three_doses() -> None:
    doses = {}
    for name, arm in VANGUARD.arms.items():
        cycles = [VANGUARD.regimens[r].cycle for r in arm.regimens]
        doses[name] = [str(cycle.dose) for cycle in cycles if cycle]
    assert doses == {"control": [], "il2_1_5": ["1.5 MIU"], "il2_4_5": ["4.5 MIU"], "il2_7_5": ["7.5 MIU"]}
    assert VANGUARD.randomization.ratio == {"control": 3, "il2_1_5": 1, "il2_4_5": 1, "il2_7_5": 1}


def test_stalwart_has_no_continuous_therapy() -> None:
    assert set(STALWART.randomization.ratio.values()) == {1}
    assert len(STALWART.arms) == 3
    assert not any(regimen.kind == "continuous" for regimen in STALWART.regimens.values())
    around = STALWART.regimens["pericycle_art"]
    assert around.before
    assert around.after
    assert days(around.before) + 5 + days(around.after) == 10


def test_the_invented_trial_is_of_another_shape() -> None:
    drug = EPO.regimens["erythropoietin"]
    assert drug.cycle
    assert drug.goal
    assert drug.cycle.on_days == [1, 8, 15, 22]
    assert drug.cycle.dose.unit == "IU/kg"
    assert (drug.goal.measure, str(drug.goal.rules[0].value)) == ("haemoglobin", "11 g/dL")
    assert EPO.randomization.ratio == {"epo": 2, "usual": 1}
    assert EPO.simulation is None
    assert "invented" in (EPO.assumed or "")


# --- size, countries, results -------------------------------------------------------------------------------


def test_size_and_calendar() -> None:
    assert (SILCAAT.size.randomized, SILCAAT.size.analysed, SILCAAT.size.simulated) == (1971, 1695, 1695)
    assert (ESPRIT.size.randomized, ESPRIT.size.analysed, ESPRIT.size.simulated) == (4150, 4111, 4111)
    assert ESPRIT.size.primary_events == 320
    assert SILCAAT.size.hazard_ratio == 0.72
    assert SILCAAT.calendar.first_randomization.isoformat() == "1999-04-30"
    assert SILCAAT.calendar.last_randomization.isoformat() == "2002-09-28"
    assert SILCAAT.calendar.end_of_follow_up == ESPRIT.calendar.end_of_follow_up
    assert ESPRIT.calendar.end_of_follow_up.isoformat() == "2008-11-15"


def test_countries() -> None:
    assert SILCAAT.simulation
    assert ESPRIT.simulation
    assert sum(SILCAAT.simulation.accrual.values()) == 1695
    assert sum(ESPRIT.simulation.accrual.values()) == 4150
    assert (len(SILCAAT.simulation.accrual), len(ESPRIT.simulation.accrual)) == (11, 25)
    assert (SILCAAT.simulation.sites, ESPRIT.simulation.sites) == (139, 254)
    assert SILCAAT.simulation.accrual["USA"] == 406
    assert ESPRIT.simulation.accrual["USA"] == 988


@pytest.mark.parametrize(
    ("protocol", "figure", "value", "interval"),
    [
        (SILCAAT, "primary_events_il2", 110, None),
        (SILCAAT, "primary_events_control", 119, None),
        (SILCAAT, "primary_hr", 0.91, (0.70, 1.18)),
        (SILCAAT, "death_hr", 1.06, (0.77, 1.44)),
        (SILCAAT, "opportunistic_hr", 0.73, (0.51, 1.06)),
        (SILCAAT, "grade4_hr", 1.10, (0.90, 1.34)),
        (SILCAAT, "cd4_difference", 53.0, (40.3, 65.7)),
        (SILCAAT, "cd4_mean_il2", 345.1, None),
        (SILCAAT, "cd4_mean_control", 292.1, None),
        (ESPRIT, "primary_events_il2", 159, None),
        (ESPRIT, "primary_events_control", 165, None),
        (ESPRIT, "primary_hr", 0.94, (0.75, 1.16)),
        (ESPRIT, "death_hr", 0.90, (0.69, 1.17)),
        (ESPRIT, "grade4_hr", 1.23, (1.07, 1.41)),
        (ESPRIT, "cd4_difference", 159, (145, 174)),
        (ESPRIT, "cd4_mean_il2", 715.4, None),
        (ESPRIT, "cd4_mean_control", 556.3, None),
        (ESPRIT, "cycles_median", 4, None),
        (STALWART, "progression_hr", 5.84, (0.59, 43.57)),
    ],
)
def test_published_figures(
    protocol: Protocol, figure: str, value: float, interval: tuple[float, float] | None
) -> None:
    published = protocol.published[figure]
    assert published.value == value
    assert published.interval == interval


@pytest.mark.parametrize(("protocol", "se"), [(SILCAAT, 0.133), (ESPRIT, 0.111)], ids=["silcaat", "esprit"])
def test_the_interval_of_the_primary_hazard_ratio_gives_its_standard_error(
    protocol: Protocol, se: float
) -> None:
    low, high = protocol.published["primary_hr"].interval or pytest.fail("no interval")
    assert (math.log(high) - math.log(low)) / (2 * 1.959964) == pytest.approx(se, abs=0.001)
    assert protocol.published["primary_log_se"].value == se


@pytest.mark.parametrize(("protocol", "analysed"), [(SILCAAT, (849, 846)), (ESPRIT, (2071, 2040))])
def test_organ_classes_add_up(protocol: Protocol, analysed: tuple[int, int]) -> None:
    for published in protocol.published_terms:
        for arm, count in published.participants.items():
            assert count == sum(group[arm] for group in published.groups.values())
            assert 0 <= count <= analysed[arm == "control"]
    named = {published.term for published in protocol.published_terms}
    assert named <= set(protocol.events["grade4"].terms)


def test_losses_deaths_and_completers_add_up_to_those_analysed() -> None:
    for protocol, arms in ((SILCAAT, {"il2": 849, "control": 846}), (ESPRIT, {"il2": 2071, "control": 2040})):
        for arm, total in arms.items():
            parts = [
                protocol.published[f"{part}_{arm}"].value for part in ("completed", "lost", "death_events")
            ]
            withdrew = protocol.published.get(f"withdrew_{arm}")
            parts.append(withdrew.value if withdrew else 0)
            assert sum(parts) == total


# --- provenance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", bundled())
def test_every_published_figure_has_its_source_among_the_references(name: str) -> None:
    protocol = load(name)
    for figure in (*protocol.published.values(), *protocol.published_terms):
        assert source_keys(figure)
        assert set(source_keys(figure)) <= set(protocol.references)


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard", "stalwart"])
def test_every_reference_can_be_found(name: str) -> None:
    for reference in load(name).references.values():
        assert reference.address
        assert reference.address.startswith(("http://", "https://"))


@pytest.mark.parametrize("name", ["silcaat", "esprit"])
def test_every_rule_of_dose_and_eligibility_says_where_it_comes_from(name: str) -> None:
    protocol = load(name)
    silent = [
        place
        for place, block in blocks(protocol)
        if place.count(".") <= 2
        and place.startswith(("eligibility.criteria", "regimens.", "arms.", "size", "calendar", "monitoring"))
        and not (block.source or block.assumed)
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("protocol", "place"),
    [
        (SILCAAT, "regimens.aldesleukin.toxicity"),
        (SILCAAT, "regimens.aldesleukin.escalation.response"),
        (SILCAAT, "monitoring"),
        (SILCAAT, "randomization"),
        (ESPRIT, "strata.site"),
        (ESPRIT, "regimens.aldesleukin.toxicity"),
        (ESPRIT, "monitoring"),
        (STALWART, "regimens.aldesleukin.goal"),
    ],
)
def test_what_no_source_gives_is_marked_as_assumed(protocol: Protocol, place: str) -> None:
    assert dict(blocks(protocol))[place].assumed
