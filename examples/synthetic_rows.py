"""Write new rows of a table, in the format of the table.

python train.py task=generation data=table data.path=people.csv
python examples/synthetic_rows.py logs/generation/table-vae/<date> people.csv new.csv 1000
"""

import sys

import pandas as pd

import vaelab


def main(run: str, path: str, output: str, count: str = "1000") -> None:
    """Sample rows, write them with the columns of the file in their order, and compare means and commonest values."""
    real = pd.read_csv(path)
    sampled = vaelab.load(run).sample(int(count), seed=1)  # a DataFrame in the units of the file, complete rows
    sampled = sampled[[column for column in real.columns if column in sampled.columns]]
    sampled.to_csv(output, index=False)
    print(f"{len(sampled)} rows in {output}")
    for column in sampled.columns:
        if pd.api.types.is_numeric_dtype(real[column]):
            print(f"{column}: mean {real[column].mean():.4g}, of the new rows {sampled[column].mean():.4g}")
        else:
            print(f"{column}: mostly {real[column].mode()[0]}, of the new rows {sampled[column].mode()[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
