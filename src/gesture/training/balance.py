"""Training sets in which some gestures or people have more images than others."""

import numpy as np
from numpy.typing import NDArray

from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig
from gesture.data.prepare import Data


def class_weights(config: TrainConfig, data: Data) -> NDArray[np.float32] | None:
    """What each gesture weighs in the loss, [C], by its share of the training images; None: all the same.

    The weights of the training images have the mean 1. A gesture that nobody trains has the weight 1.
    """
    if config.loss.class_weights == "none":
        return None
    counts = np.bincount(data.samples.gestures[data.split.train], minlength=len(data.samples.class_names))
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 1).astype(np.float32)


def check_people(config: TrainConfig, data: Data) -> None:
    """See that people are known where they are to be drawn alike.

    Raises:
        ConfigError: they are not.
    """
    if config.data.balance == "subject" and not data.samples.knows_subjects:
        raise ConfigError(
            "data.balance=subject needs to know whose images these are: give data.pattern a group named subject, or "
            "data.balance=none."
        )
