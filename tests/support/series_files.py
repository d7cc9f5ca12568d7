"""A small JapaneseVowels in the format of the real one, made here."""

import numpy as np

HEADER = "# speakers\n@problemName JapaneseVowels\n@timeStamps false\n@classLabel true 1 2 3 4 5 6 7 8 9\n@data\n"


def write_vowels(folder, part="TRAIN", each=5):
    """Write series of 7 to 11 steps of 12 channels, ``each`` for a class; return them."""
    rng = np.random.default_rng(len(part))
    made, lines = [], []
    for number in range(9 * each):
        series = rng.standard_normal((7 + number % 5, 12)).astype(np.float32) + number % 9
        made.append((series, number % 9))
        channels = ":".join(",".join(repr(float(value)) for value in column) for column in series.T)
        lines.append(f"{channels}:{number % 9 + 1}\n")
    path = folder / "JapaneseVowels" / f"JapaneseVowels_{part}.ts"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(lines))
    return made
