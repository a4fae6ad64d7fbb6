"""Batches: orders and augmentations that depend on seed, epoch and sample alone."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gesture.config.compose import compose
from gesture.config.schema import AugmentConfig, TrainConfig
from gesture.data.prepare import prepare
from gesture.training.augment import DRAWS, augment, draw
from gesture.training.datamodule import EpochSampler, GestureData, ImageRows, halved, used


def order(size: int, seed: int, epoch: int, rank: int = 0, world: int = 1, dealt: int | None = None) -> list[int]:
    sampler = EpochSampler(size, seed, rank, world, used=dealt)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_an_epochs_order_is_a_function_of_seed_and_epoch() -> None:
    assert order(50, 3, 4) == order(50, 3, 4)
    orders = {tuple(order(50, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16  # seed 0 in epoch 1 is not seed 1 in epoch 0


def batches_of(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@given(st.integers(1, 100), st.integers(1, 4), st.integers(1, 9))
def test_processes_have_together_the_batches_of_one(size: int, world: int, batch_size: int) -> None:
    dealt = used(size, batch_size, world)
    shares = [batches_of(order(size, 0, 0, rank, world, dealt), batch_size) for rank in range(world)]
    assert len({len(batches) for batches in shares}) == 1
    together = [sorted(itertools.chain(*batches)) for batches in zip(*shares, strict=True)]
    alone = batches_of(order(size, 0, 0), batch_size * world)
    assert together == [sorted(batch) for batch in alone[: len(together)]]
    left_out = [batch for batch in alone[len(together) :] if batch]
    assert len(left_out) <= 1
    assert all(len(batch) < 2 * world for batch in left_out)
    assert all(len(share) > 1 for batches in shares for share in batches) or batch_size == 1 or size == 1


def test_a_batch_is_the_images_of_its_rows() -> None:
    images = torch.arange(6 * 2 * 3, dtype=torch.uint8).view(6, 2, 3)
    dataset = ImageRows(images, torch.tensor([0, 1, 2, 3, 4, 5]), torch.tensor([1, 3, 5]))
    batch = dataset.__getitems__([2, 0])
    assert torch.equal(batch.images, images[[5, 1]].unsqueeze(1))
    assert batch.targets.tolist() == batch.rows.tolist() == [5, 1]


def test_an_images_draws_are_the_same_in_any_batch() -> None:
    together = draw(1, 2, np.arange(100), DRAWS)
    alone = np.concatenate([draw(1, 2, np.array([sample]), DRAWS) for sample in range(100)])
    assert np.array_equal(together, alone)
    assert not np.array_equal(together, draw(1, 3, np.arange(100), DRAWS))
    assert not np.array_equal(together, draw(2, 2, np.arange(100), DRAWS))


def test_draws_are_uniform_and_unrelated() -> None:
    draws = draw(0, 0, np.arange(50_000), DRAWS)
    assert draws.min() >= -1
    assert draws.max() < 1
    assert np.abs(draws.mean(axis=0)).max() < 0.02
    assert np.abs(draws.std(axis=0) - 1 / np.sqrt(3)).max() < 0.01
    assert np.abs(np.corrcoef(draws.T) - np.eye(DRAWS)).max() < 0.03


def only(**change: float) -> AugmentConfig:
    return AugmentConfig(**{"name": "test", "rotation": 0.0, "scale": 0.0, "shift": 0.0, "gamma": 0.0, **change})  # type: ignore[arg-type]


@pytest.fixture
def dot() -> torch.Tensor:
    """A bright square right of the middle of an oblong image."""
    image = torch.zeros(1, 1, 40, 80, dtype=torch.uint8)
    image[..., 18:22, 58:62] = 255
    return image


def centre(image: torch.Tensor) -> tuple[float, float]:
    """Of brightness, in pixels from the middle: across and down."""
    weight = image[0, 0] / image.sum()
    down, across = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(80) - 39.5, indexing="ij")
    return float((across * weight).sum()), float((down * weight).sum())


def test_no_change_leaves_the_image_as_it_is(dot: torch.Tensor) -> None:
    assert torch.equal(augment(dot, torch.zeros(1, DRAWS), only()), dot.float() / 255)


def test_turning_an_oblong_image_keeps_distances(dot: torch.Tensor) -> None:
    turned = augment(dot, torch.tensor([[1.0, 0, 0, 0, 0]]), only(rotation=30.0))
    across, down = centre(turned)
    assert np.hypot(across, down) == pytest.approx(20, abs=0.3)
    assert np.degrees(np.arctan2(-down, across)) == pytest.approx(30, abs=1)


def test_shifts_and_scales_move_by_what_they_say(dot: torch.Tensor) -> None:
    across, down = centre(augment(dot, torch.tensor([[0, 0, 1.0, -1.0, 0]]), only(shift=0.1)))
    assert (across, down) == pytest.approx((12, 4), abs=0.2)  # a tenth of 80 to the left, a tenth of 40 down
    across, _ = centre(augment(dot, torch.tensor([[0, 1.0, 0, 0, 0]]), only(scale=0.5)))
    assert across == pytest.approx(30, abs=0.3)


def test_gamma_changes_brightness_and_leaves_black_and_white() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256)
    changed = augment(ramp, torch.tensor([[0, 0, 0, 0, 1.0]]), only(gamma=0.5)).flatten()
    assert changed[0] == 0
    assert changed[-1] == 1
    assert changed[128] == pytest.approx((128 / 255) ** np.exp(0.5), abs=1e-5)


def test_each_image_changes_by_itself(dot: torch.Tensor) -> None:
    draws = torch.from_numpy(draw(0, 0, np.arange(4), DRAWS))
    config = only(rotation=10.0, scale=0.1, shift=0.1, gamma=0.3)
    together = augment(dot.expand(4, -1, -1, -1), draws, config)
    for i in range(4):
        assert torch.allclose(together[i : i + 1], augment(dot, draws[i : i + 1], config), atol=1e-6)
    assert not torch.allclose(together[0], together[1])


def test_halved_images_are_the_means_of_four_pixels() -> None:
    image = torch.tensor([[0, 255, 100, 100], [255, 0, 100, 104]], dtype=torch.uint8).view(1, 1, 2, 4)
    assert torch.allclose(halved(image), torch.tensor([0.5, 101 / 255]).view(1, 1, 1, 2))
    assert torch.equal(halved(image), halved(image.float() / 255))


@pytest.fixture
def module(rendered: Path, tmp_path: Path) -> GestureData:
    words = [f"data.root={rendered}", f"data.cache_dir={tmp_path}", "data.image_size=[32,64]"]
    config: TrainConfig = compose("train", words)
    return GestureData(prepare(config.data, config.split), config)


def pretend_device(module: GestureData, device: str) -> None:
    module.trainer = SimpleNamespace(  # type: ignore[assignment]
        strategy=SimpleNamespace(root_device=torch.device(device)),
        global_rank=0,
        world_size=1,
        max_epochs=2,
        limit_train_batches=1.0,
        accumulate_grad_batches=1,
    )


def test_loaders_give_each_image_once_with_its_gesture(module: GestureData) -> None:
    pretend_device(module, "cpu")
    data = module.data
    for loader, part in ((module.train_dataloader(), "train"), (module.val_dataloader(), "val")):
        batches = list(loader)
        rows = torch.cat([batch.rows for batch in batches])
        assert sorted(rows.tolist()) == data.split[part].tolist()
        images = torch.cat([batch.images for batch in batches])
        assert np.array_equal(images[:, 0].numpy(), data.images[rows.numpy()])
        targets = torch.cat([batch.targets for batch in batches])
        assert np.array_equal(targets.numpy(), data.samples.gestures[rows.numpy()])
    assert len(list(module.train_dataloader())) == module.batches(1) == module.total_steps() / 2


@pytest.mark.parametrize(
    ("has_room", "wished", "resident"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_images_move_to_an_accelerator_that_has_room_as_seen_on_a_stand_in(
    has_room: bool, wished: bool, resident: bool, module: GestureData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gesture.training.datamodule._has_room", lambda device, needed: has_room)
    module.config.data.resident = wished
    pretend_device(module, "meta")
    module.setup("fit")
    assert (module.images.device.type == "meta") is resident


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_processes_evaluate_the_batches_of_one_in_equal_numbers(module: GestureData, world: int) -> None:
    module.config.data.batch_size = 3  # 15 images to validate on: three batches
    pretend_device(module, "cpu")
    alone = [batch.rows.tolist() for batch in module.val_dataloader()]
    assert [len(rows) for rows in alone] == [6, 6, 3]
    module._trainer.world_size, shares = world, []
    for rank in range(world):
        module._trainer.global_rank = rank
        shares.append([batch.rows.tolist() for batch in module.val_dataloader()])
    assert len({len(share) for share in shares}) == 1
    assert sorted({tuple(rows) for share in shares for rows in share}) == sorted(map(tuple, alone))


def test_a_last_batch_of_one_image_is_left_out(module: GestureData) -> None:
    module.config.data.batch_size = 7  # 120 training images: 17 batches and one image
    pretend_device(module, "cpu")
    assert {len(batch.targets) for batch in module.train_dataloader()} == {7}
    assert module.batches(1) == 17


def test_the_first_steps_see_half_the_size_in_training_only(module: GestureData) -> None:
    pretend_device(module, "cpu")
    trainer, module.config.trainer.half_size_fraction = module._trainer, 0.25
    batch, steps = next(iter(module.train_dataloader())), module.total_steps()

    def seen(step: int, training: bool) -> list[int]:
        trainer.training, trainer.global_step = training, step
        return list(module.on_after_batch_transfer(batch, 0).images.shape[-2:])

    halves = [seen(step, training=True) == [16, 32] for step in range(steps)]
    assert halves == [step < steps / 4 for step in range(steps)]
    assert seen(steps - 1, training=True) == seen(0, training=False) == [32, 64]
