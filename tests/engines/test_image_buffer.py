from __future__ import annotations

import copy

import pytest
import torch

from monai_nce.engines import ImageBuffer


def numbered(first: int, count: int = 2) -> torch.Tensor:
    return torch.arange(first, first + count, dtype=torch.float32)[:, None, None, None].expand(count, 3, 4, 5).clone()


def numbers(images: torch.Tensor) -> list[int]:
    assert images.shape[1:] == (3, 4, 5)
    return [int(image.unique()) for image in images]


def test_a_buffer_that_is_not_full_returns_the_images_themselves() -> None:
    buffer = ImageBuffer(4)
    for first in (0, 2):
        assert numbers(buffer(numbered(first))) == [first, first + 1]
    assert numbers(torch.stack(buffer.images)) == [0, 1, 2, 3]


def test_half_of_the_images_are_earlier_ones_and_each_is_shown_at_most_once() -> None:
    buffer = ImageBuffer(50)
    shown = [number for first in range(0, 2000, 4) for number in numbers(buffer(numbered(first, 4)))]
    earlier = sum(number != place for place, number in enumerate(shown))
    assert earlier == pytest.approx(1950 / 2, rel=0.1)
    later = shown[50:]  # those before are stored and shown
    assert len(set(later)) == len(later) and all(number <= place for place, number in enumerate(shown))
    assert set(shown) | set(numbers(torch.stack(buffer.images))) == set(range(2000))
    assert len(buffer.images) == 50


def test_draws_follow_from_the_seed() -> None:
    def shown(seed: int) -> list[int]:
        buffer = ImageBuffer(3, seed)
        return [number for first in range(0, 60, 2) for number in numbers(buffer(numbered(first)))]

    assert shown(0) == shown(0) != shown(1)


def test_a_buffer_draws_no_number_of_the_trainings_own_and_keeps_no_graph() -> None:
    buffer, state = ImageBuffer(1), torch.get_rng_state()
    images = numbered(0).requires_grad_()
    for _ in range(3):
        assert not buffer(images).requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        images += 100  # what is stored is a copy
    assert max(numbers(torch.stack(buffer.images))) < 100


def test_one_of_size_0_is_none() -> None:
    buffer, images = ImageBuffer(0), numbered(0)
    assert torch.equal(buffer(images), images) and buffer.images == []


def test_a_restored_buffer_goes_on_as_the_other() -> None:
    buffer = ImageBuffer(3)
    for first in range(0, 10, 2):
        buffer(numbered(first))
    restored = ImageBuffer(3, seed=5)
    restored.load_state_dict(copy.deepcopy(buffer.state_dict()))
    for first in range(10, 40, 2):
        assert torch.equal(buffer(numbered(first)), restored(numbered(first)))


def test_the_state_of_a_larger_buffer_is_refused() -> None:
    buffer = ImageBuffer(4)
    buffer(numbered(0, 4))
    with pytest.raises(ValueError, match="at most 2 stored images but got 4"):
        ImageBuffer(2).load_state_dict(buffer.state_dict())
