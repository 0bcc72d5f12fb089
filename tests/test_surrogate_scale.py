"""Every method evaluates the marker on the scale that was chosen."""

import pytest

from equipoise.analyse.surrogate.evaluation import evaluate
from equipoise.analyse.surrogate.scale import SHORT_NAMES
from equipoise.analyse.surrogate.time_varying import time_varying
from surrogate_example import wandering_trial


@pytest.mark.parametrize(
    ("scale", "said"), [("log2", "doubling"), ("sqrt", "square root"), ("as-is", "of CD4")]
)
def test_the_scale_of_the_biomarker_may_be_chosen(scale, said):
    given = wandering_trial(200)
    transform = SHORT_NAMES[scale]
    found = evaluate(given, bootstrap=20, times=[1.0], transform=transform)
    assert found.transform == transform
    slope = found.prentice.marker_on_outcome
    assert said in slope.label
    assert slope.estimate == time_varying(given, terms=("marker",), transform=transform).of("marker").estimate
    assert found.mediation.path.transform == found.mediation.g_formula.transform == transform
