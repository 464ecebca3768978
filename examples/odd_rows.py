"""Find the odd rows of a table, and say why they are odd.

python train.py task=anomaly data=table data.path=people.csv
python examples/odd_rows.py logs/anomaly/table-vae/<date> later.csv
"""

import sys

import pandas as pd

import vaelab


def main(run: str, path: str) -> None:
    """Print the rows of a CSV file that raise an alarm, the oddest first."""
    rows = pd.read_csv(path)
    trained = vaelab.load(run)
    verdicts = trained.detect(rows)  # a row for each: score, alarm, p_value
    odd = verdicts[verdicts["alarm"]].sort_values("score", ascending=False)
    print(f"{len(odd)} of {len(rows)} rows raise an alarm")
    if len(odd):
        reasons = trained.explain(rows.loc[odd.index])["because"]  # such as: weight (61 % of the score), age (20 %)
        for row, reason in zip(odd.index, reasons, strict=True):
            print(f"row {row}: p = {odd.loc[row, 'p_value']:.3f}; {reason}")


if __name__ == "__main__":
    main(*sys.argv[1:])
