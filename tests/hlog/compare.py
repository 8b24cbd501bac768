"""Compares what the readers of each language told: counts exactly, percentiles by either rank rule."""
import sys

LANGUAGES = ["python", "javascript", "java", "go"]


def read(folder, language):
    with open(f"{folder}/{language}.txt") as file:
        rows = [line.split() for line in file]
    # The intervals without a tag, one a phase, are told apart by their counts.
    return {f"{tag} {count}": [int(float(value)) for value in values] for tag, count, *values in rows}


def close(a, b):
    """Of the same bucket: some tell its top, some its bottom or its middle."""
    return abs(a - b) <= max(a, b) / 500 + 1


truth = read(sys.argv[1], "rust")
wrong = []
for language in LANGUAGES:
    told = read(sys.argv[1], language)
    if told.keys() != truth.keys():
        wrong.append(f"{language}: intervals {sorted(told.keys() ^ truth.keys())} are not in both")
        continue
    ranks = [0, 0]
    for tag, values in told.items():
        ceiling, rounded = truth[tag][:4], truth[tag][4:]
        for value, one, other in zip(values, ceiling, rounded):
            ranks[0] += close(value, one)
            ranks[1] += close(value, other)
            if not close(value, one) and not close(value, other):
                wrong.append(f"{language}: {tag}: {value} is neither {one} nor {other}")
    total = 4 * len(told)
    times = sum(int(tag.split()[1]) for tag in told)
    print(f"{language}: {len(told)} intervals, {times} times;"
          f" of {total} percentiles {ranks[0]} by the rank that is rounded up, {ranks[1]} by the one that is rounded")
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
