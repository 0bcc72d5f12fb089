"""The generator gives the known answers of Random123, and its uniforms and normals are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from equipoise.virtual import philox, streams

F = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((F, F, F, F), (F, F), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers_of_random123(counter, key, answer):
    assert tuple(int(word) for word in philox.block(*counter, *key)) == answer


def test_the_seed_is_the_64_bit_key():
    low, high = philox.split_seed(0x0123456789ABCDEF)
    assert (int(low), int(high)) == (0x89ABCDEF, 0x01234567)


def test_uniforms_lie_strictly_inside_0_and_1_at_the_extreme_words():
    zero, one = np.uint64(0), np.uint64(F)
    assert 0.0 < philox.unit(zero, zero) < 1e-15
    assert 1.0 - 1e-15 < philox.unit(one, one) < 1.0


def test_uniforms_are_uniform_and_their_two_halves_unrelated():
    u = philox.uniform_column(2026, streams.ITEM, 3, 5, 0, 200_000)
    assert stats.kstest(u[0], "uniform").pvalue > 1e-3
    assert stats.kstest(u[1], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u)[0, 1]) < 4 / np.sqrt(200_000)


def test_normals_are_normal():
    z = philox.normal_column(2026, streams.MEASUREMENT, 0, 0, 0, 200_000)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3


def test_a_draw_depends_on_its_own_counter_only():
    whole = philox.uniform_column(7, streams.VISIT, 2, 1, 0, 1000)
    parts = [philox.uniform_column(7, streams.VISIT, 2, 1, first, 100) for first in range(0, 1000, 100)]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))
    assert tuple(whole[:, 123]) == philox.uniforms(7, streams.VISIT, 2, 123, 1)


@pytest.mark.parametrize("change", [{"seed": 8}, {"purpose": 3}, {"index": 1}, {"person": 1}, {"trial": 1}])
def test_every_word_of_the_counter_matters(change):
    words = {"seed": 7, "purpose": 2, "index": 0, "person": 0, "trial": 0}
    assert philox.uniforms(*words.values()) != philox.uniforms(*(words | change).values())


def test_purposes_have_numbers_of_their_own():
    numbers = [value for name, value in vars(streams).items() if name.isupper()]
    assert len(numbers) == len(set(numbers)) > 20
