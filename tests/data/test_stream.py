"""The stream of samples: BasicSR's order, random numbers that belong to places, and going on in the middle."""

import multiprocessing
import pickle

import pytest
from basicsr.data.data_sampler import EnlargedSampler

from rcan_plugin.data.stream import DRAWS, RANGE, RandomNumbers, SampleIndex, StreamSampler, draws_at, random_numbers_of


def epochs(sampler, *numbers) -> list[list]:
    found = []
    for epoch in numbers:
        sampler.set_epoch(epoch)
        found.append(list(sampler))
    return found


@pytest.mark.parametrize(("images", "ranks", "ratio"), [(7, 1, 1), (7, 2, 1), (5, 3, 10), (9, 4, 2.5), (3, 8, 1)])
def test_the_order_is_basicsrs(images, ranks, ratio):
    dataset = range(images)
    for rank in range(ranks):
        ours = StreamSampler(dataset, ranks, rank, ratio, seed=3)
        theirs = EnlargedSampler(dataset, ranks, rank, ratio)
        assert len(ours) == len(theirs)
        assert epochs(ours, 0, 1, 17) == epochs(theirs, 0, 1, 17)


def drawn(sampler, *numbers) -> list[tuple[int, tuple[int, ...]]]:
    return [(int(place), place.random_numbers) for epoch in epochs(sampler, *numbers) for place in epoch]


def echo(place) -> tuple[type, int, tuple[int, ...]]:
    return type(place), int(place), random_numbers_of(place)


def test_a_place_keeps_its_numbers_on_the_way_to_a_spawned_worker():
    numbers = RandomNumbers(1, 2, 3, 2**62 - 1, 4)
    place = SampleIndex(5, numbers)
    assert place == 5 and ["a", "b", "c", "d", "e", "f"][place] == "f"
    assert echo(pickle.loads(pickle.dumps([place]))[0]) == (SampleIndex, 5, numbers)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(echo, (place,)) == (SampleIndex, 5, numbers)


def test_the_numbers_depend_on_seed_and_place_alone():
    dataset = range(6)
    one = drawn(StreamSampler(dataset, 1, 0, 2, seed=1), 0, 1, 2)
    assert drawn(StreamSampler(dataset, 1, 0, 2, seed=1), 0, 1, 2) == one
    sampler = StreamSampler(dataset, 1, 0, 2, seed=1)
    list(sampler)  # whatever was drawn before
    assert drawn(sampler, 2) == one[24:]
    every = [random_numbers for _, random_numbers in one]
    assert len(set(every)) == 36, "an image's second draw has other numbers than its first"
    assert not set(every) & {
        random_numbers for _, random_numbers in drawn(StreamSampler(dataset, 1, 0, 2, seed=2), 0, 1, 2)
    }
    # `printf 1/0 | b2sum -l 256`, eight bytes each, without two bits. A change of it changes every run.
    draws = (2357986506138558338, 3602638309612468584, 3602381233692149080, 3817951195173823633)
    assert draws_at(1, 0) == draws
    assert one[0][1] == RandomNumbers(draws[0], draws[1], draws[2] % 8, draws[3], draws[2] // 8)
    every_draw = [draw for position in range(36) for draw in draws_at(1, position)]
    assert [RandomNumbers.split(every_draw[at : at + DRAWS]) for at in range(0, 36 * DRAWS, DRAWS)] == every
    assert all(0 <= draw < RANGE for draw in every_draw)
    assert abs(sum(draw / RANGE for draw in every_draw) / len(every_draw) - 0.5) < 0.1
    assert {numbers.orientation for numbers in every} == set(range(8))


@pytest.mark.parametrize("ranks", [2, 4])
def test_several_ranks_draw_the_samples_of_one(ranks):
    dataset, batch = range(10), 16
    alone = drawn(StreamSampler(dataset, 1, 0, 8, seed=4), 0, 1)
    shares = [drawn(StreamSampler(dataset, ranks, rank, 8, seed=4), 0, 1) for rank in range(ranks)]
    assert len(alone) == 160
    for begin in range(0, 160, batch):
        part = slice(begin // ranks, (begin + batch) // ranks)
        assert sorted(sample for share in shares for sample in share[part]) == sorted(alone[begin : begin + batch])


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("had", [0, 1, 5, 12])
def test_going_on_in_an_epoch(had, ranks):
    for rank in range(ranks):
        whole = StreamSampler(range(6), ranks, rank, 2 * ranks, seed=5)
        later = StreamSampler(range(6), ranks, rank, 2 * ranks, seed=5)
        later.resume_at = 3, had
        list(later)  # as BasicSR's prefetcher does before the first epoch is named
        assert drawn(later, 3, 4, 5) == drawn(whole, 3, 4, 5)[had:]
        assert len(later) == 12, "as many batches are counted as ever"


def test_an_index_that_is_no_place_draws_from_torch():
    import torch

    torch.manual_seed(0)
    first, second = random_numbers_of(3), random_numbers_of(3)
    torch.manual_seed(0)
    assert random_numbers_of(4) == first != second
    torch.manual_seed(0)
    assert first == RandomNumbers.split(torch.randint(RANGE, (DRAWS,)).tolist())
