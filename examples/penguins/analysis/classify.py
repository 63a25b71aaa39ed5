"""Tell the species of a penguin from its measurements: a table of how well that works, and a figure.

Usage: python classify.py DIRECTORY
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_fscore_support
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MEASURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
HERE = Path(__file__).parent


def main(results: Path) -> None:
    """Fit, cross-validate, and write the table and the figure into ``results``."""
    penguins = pd.read_csv(HERE.parent / "data" / "penguins.csv")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(n_splits=10, shuffle=True, random_state=2014)
    guessed = cross_val_predict(model, penguins[MEASURES], penguins["species"], cv=folds)
    species = sorted(penguins["species"].unique())
    precision, recall, f1, birds = precision_recall_fscore_support(penguins["species"], guessed, labels=species)
    table = pd.DataFrame({"species": species, "birds": birds, "precision": precision, "recall": recall, "f1": f1})
    table.to_csv(results / "classification.csv", index=False, lineterminator="\n")

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, group in penguins.groupby("species"):
        axes.scatter(group["bill_length_mm"], group["bill_depth_mm"], s=14, alpha=0.7, label=name)
    wrong = penguins[guessed != penguins["species"]]
    axes.scatter(
        wrong["bill_length_mm"],
        wrong["bill_depth_mm"],
        s=60,
        facecolors="none",
        edgecolors="black",
        label="taken for another",
    )
    axes.set(xlabel="bill length (mm)", ylabel="bill depth (mm)", title="Species from four measurements")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(results / "classification.png", dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
