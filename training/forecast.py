"""How long a run will still take."""

from feedline.pipeline.loader import Loader
from feedline.training.state import TrainState

TRAIN_STEP = 3  # forward and backward passes cost about as much as three forward passes
VIEWS = {None: 1, "flip": 2, "crops": 6}


def seconds_left(state: TrainState, val: Loader, images_per_s: float) -> float:
    """Seconds that the epochs and evaluations of a run will still take, as an estimate.

    The time of an image goes with its pixels. Evaluations take as long as those before took on average, or, before the
    first, a third of training on their images, for each view.

    Args:
        state: of the run.
        val: the loader of the val part.
        images_per_s: of training, at the size that images have in this epoch.
    """
    config, position, train = state.config, state.position, state.train
    epochs = range(position.epoch, config.optim.epochs)
    pixels = _pixels(train, position.epoch)
    images = sum(_pixels(train, epoch) / pixels for epoch in epochs) * len(train) - position.step
    images *= train.batch_size
    evaluations = sum(config.evaluates(epoch + 1) for epoch in epochs)
    if evaluated := len(position.evaluated):
        return images / images_per_s + evaluations * position.eval_seconds / evaluated
    views = VIEWS[config.run.views]
    return (images + evaluations * val.images * views * _pixels(val, 0) / pixels / TRAIN_STEP) / images_per_s


def _pixels(loader: Loader, epoch: int) -> int:
    height, width = loader.output(epoch)
    return height * width
