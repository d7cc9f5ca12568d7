"""The handwritten digits that ship inside scikit-learn, split once and for all."""

import torch

from pnbx_snn.data.split import Part, Split, check_part

NUM_TEST = 360
NUM_VALIDATION = 180
SPLIT_SEED = 0
"""Of the two stratified splits. A constant, not an option: a test set that moves with the seed is no test set."""


def load_digits_split(*, part: Part) -> Split:
    """Load a part of the 1,797 handwritten 8x8 digits of scikit-learn. Nothing is downloaded.

    Parameters
    ----------
    part
        ``"train"`` (1,257 images) and ``"validation"`` (180) are for choosing; ``"train_all"`` (1,437) is both, for
        the last training; ``"test"`` (360) is for the last measurement and never for choosing. Each part has the
        classes in equal shares.

    Returns
    -------
    Split
        Images ``[n, 64]`` and labels ``[n]``, the same in the same order at each call: pixels / 16, digits 0 to 9.

    Raises
    ------
    PnbxValueError
        If the part is not one of the four.

    References
    ----------
    Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (CC BY 4.0);
    the copy in scikit-learn is the test file of that data set.

    Examples
    --------
    >>> {part: len(load_digits_split(part=part).labels) for part in ("train", "validation", "train_all", "test")}
    {'train': 1257, 'validation': 180, 'train_all': 1437, 'test': 360}
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    check_part("load_digits_split", part)
    images, labels = load_digits(return_X_y=True)
    train_all, test = train_test_split(range(len(labels)), test_size=NUM_TEST, stratify=labels, random_state=SPLIT_SEED)
    train, validation = train_test_split(
        train_all, test_size=NUM_VALIDATION, stratify=labels[train_all], random_state=SPLIT_SEED
    )
    index = {"train": train, "validation": validation, "train_all": train_all, "test": test}[part]
    return Split(
        images=torch.tensor(images[index] / 16.0, dtype=torch.float32),
        labels=torch.tensor(labels[index], dtype=torch.int64),
    )
