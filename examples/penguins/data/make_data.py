"""Make penguins.csv: simulated birds whose counts, means and deviations are those published for the Palmer Archipelago.

The figures are from Gorman, Williams and Fraser (2014), "Ecological sexual dimorphism and environmental variability
within a community of Antarctic penguins", PLoS ONE 9(3): e90081, rounded. No bird in the file ever lived.

Run it as ``python3 make_data.py > penguins.csv``; it gives the same file every time.
"""

import csv
import math
import random
import sys

# species: birds per island, then mean and standard deviation of bill length, bill depth, flipper length (mm), mass (g)
SPECIES = {
    "Adelie": ({"Biscoe": 44, "Dream": 56, "Torgersen": 52}, (38.8, 2.66), (18.3, 1.22), (190, 6.54), (3701, 459)),
    "Chinstrap": ({"Dream": 68}, (48.8, 3.34), (18.4, 1.14), (196, 7.13), (3733, 384)),
    "Gentoo": ({"Biscoe": 124}, (47.5, 3.08), (15.0, 0.98), (217, 6.48), (5076, 504)),
}
SHARED = 0.6  # how much of a bird's deviation all its measurements have in common
DIMORPHISM = 0.8  # how far the sexes stand apart, in standard deviations


def birds(random_source: random.Random) -> list[list[str]]:
    """Return one row a bird."""
    rows = []
    for species, (islands, *measures) in SPECIES.items():
        for island, count in islands.items():
            for number in range(count):
                sex = "female" if number % 2 else "male"
                size = random_source.gauss(DIMORPHISM if sex == "male" else -DIMORPHISM, math.sqrt(1 - DIMORPHISM**2))
                values = [
                    mean + deviation * (SHARED * size + math.sqrt(1 - SHARED**2) * random_source.gauss(0, 1))
                    for mean, deviation in measures
                ]
                length, depth, flipper, mass = values
                rows.append(
                    [species, island, f"{length:.1f}", f"{depth:.1f}", f"{flipper:.0f}", f"{mass / 25:.0f}", sex]
                )
                rows[-1][5] = str(int(rows[-1][5]) * 25)  # weighed to 25 g
    return rows


if __name__ == "__main__":
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["species", "island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"])
    writer.writerows(birds(random.Random(2014)))  # noqa: S311 - no secret
