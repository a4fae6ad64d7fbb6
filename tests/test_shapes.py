"""The shapes that annotations say are checked in all tests."""

import numpy as np
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from gesture.data.pixels import resize, to_gray
from gesture.model.network import as_floats
from gesture.model.normalisation import pixel_statistics

REFUSED = (TypeCheckError, BeartypeCallHintViolation)


def test_an_image_without_its_channel_is_refused() -> None:
    with pytest.raises(REFUSED):
        as_floats(torch.zeros(2, 32, 32, dtype=torch.uint8))


def test_pixels_of_another_type_are_refused() -> None:
    with pytest.raises(REFUSED):
        pixel_statistics(np.zeros((2, 4, 4), dtype=np.float32), np.arange(2))


def test_what_fits_is_taken() -> None:
    assert as_floats(torch.zeros(2, 1, 32, 32, dtype=torch.uint8)).dtype == torch.float32
    assert resize(to_gray(np.zeros((8, 8), dtype=np.uint8), 8), (4, 6)).shape == (4, 6)
