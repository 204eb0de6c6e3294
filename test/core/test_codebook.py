"""Features as codes: finer with every code, exact to repeat, and never read with another codebook."""

from dataclasses import replace

import numpy as np
import pytest
from scenarios import cars, message

from cooptrack_core.cooperation import codebook as module
from cooptrack_core.cooperation.codebook import Codebook, fit, load_codebook, save_codebook
from cooptrack_core.cooperation.loopback import as_fields, over_the_air
from cooptrack_core.types import CooptrackError, Features

ROADSIDE = bytes(range(32))


def values(n=2000, channels=16, seed=0):
    rng = np.random.default_rng(seed)
    mixed = np.random.default_rng(99).normal(size=(4, channels))  # the same few directions in all data
    return (rng.normal(size=(n, 4)) @ mixed + 0.1 * rng.normal(size=(n, channels))).astype(np.float32)


@pytest.fixture(scope="module")
def book() -> Codebook:
    return fit({"query": values(), "motion": values(seed=1)}, ROADSIDE, stages=3, seed=0)


def features(n=40, seed=5):
    return Features(values(n, seed=seed), None, values(n, seed=seed + 1), "tiny_inf", ROADSIDE)


def test_every_code_more_leaves_less(book):
    sent = features(400)
    errors = []
    for codes in (1, 2, 3):
        got = book.decode(book.encode(sent, codes))
        errors.append([((getattr(got, s) - getattr(sent, s)) ** 2).mean() for s in ("query", "motion")])
    assert (np.diff(np.array(errors), axis=0) < 0).all()
    assert errors[-1][0] < 0.1 * sent.query.var()


def test_the_same_data_and_seed_give_the_same_codebook(book):
    again = fit({"query": values(), "motion": values(seed=1)}, ROADSIDE, stages=3, seed=0)
    assert again.fingerprint == book.fingerprint
    assert fit({"query": values(), "motion": values(seed=1)}, ROADSIDE, 3, seed=1).fingerprint != book.fingerprint


def test_a_stored_codebook_reads_codes_bit_by_bit_as_before(book, tmp_path):
    save_codebook(book, tmp_path / "book.safetensors")
    read = load_codebook(tmp_path / "book.safetensors")
    coded = book.encode(features(), 3)
    assert read.fingerprint == book.fingerprint and read.roadside_fingerprint == ROADSIDE
    np.testing.assert_array_equal(read.decode(coded).query, book.decode(coded).query)


@pytest.mark.parametrize("channels, count", [(16, 1), (128, 100), (256, 33)])
def test_codes_are_the_nearest_rows_however_many_instances_are_coded_at_once(channels, count):
    rng = np.random.default_rng(channels)
    tables = rng.normal(size=(3, 256, channels)).astype(np.float32)
    book, sent = Codebook({"query": tables}, ROADSIDE), values(count, channels)
    codes = book.encode(Features(sent, None, None, "tiny_inf", ROADSIDE), 3).codes[:, 0]
    left = sent.astype(np.float64)
    for stage, table in enumerate(tables):
        distance = np.linalg.norm(left[:, None] - table[None], axis=-1)
        chosen = distance[np.arange(count), codes[:, stage]]
        np.testing.assert_allclose(chosen, distance.min(axis=1), rtol=1e-5)
        left -= table[codes[:, stage]]


def test_codes_travel_as_one_byte_each(book):
    coded = book.encode(features(7), 2)
    sent = message(0, cars(*[(i, 0) for i in range(7)], instance_id=np.arange(7) + 1, features=coded))
    fields = as_fields(sent, "rvq", "compact")
    assert len(fields.features) == 7 * 2 * 2 and fields.feature_dim == 16 and fields.feature_streams == 5
    got = over_the_air(sent, "rvq", "compact").instances.features
    np.testing.assert_array_equal(got.codes, coded.codes)
    assert book.knows(got) and got.size == 16 and got.fingerprint == ROADSIDE[:8]
    np.testing.assert_array_equal(book.decode(got).motion, book.decode(coded).motion)


def test_codes_of_another_codebook_are_not_read(book):
    coded = book.encode(features(3), 2)
    assert book.knows(coded)
    assert not book.knows(replace(coded, codebook=b"\1" * 8))
    assert not book.knows(replace(coded, codebook=b""))
    assert not book.knows(replace(coded, codebook=book.fingerprint[:7]))
    assert not book.knows(replace(coded, channels=17))
    assert not book.knows(replace(coded, codes=np.zeros((3, 1, 4), np.uint8)))
    assert not book.knows(features(3))


def test_no_instances_are_no_codes(book):
    coded = book.encode(features(0), 2)
    assert coded.codes.shape == (0, 2, 2) and len(book.decode(coded).query) == 0


def test_broken_files_are_refused_with_a_remedy(book, tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "book.safetensors"
    with pytest.raises(CooptrackError, match=r"cannot be read.*fit-codebook"):
        load_codebook(path)
    path.write_bytes(b"\x80pickle")
    with pytest.raises(CooptrackError, match="cannot be read"):
        load_codebook(path)
    save_file({"query": np.zeros((1, 256, 4), np.float16)}, path)
    with pytest.raises(CooptrackError, match="no codebook"):
        load_codebook(path)
    header = {"format": module.KIND.format, "schema": module.KIND.schema, "roadside_fingerprint": ROADSIDE.hex()}
    save_file({"query": np.zeros((1, 255, 4), np.float16)}, path, header)
    with pytest.raises(CooptrackError, match="tables"):
        load_codebook(path)
    save_file({"query": np.zeros((1, 256, 4), np.float16)}, path, {**header, "fingerprint": "00"})
    with pytest.raises(CooptrackError, match="fingerprint"):
        load_codebook(path)
