"""Turn the rows of a table or the pictures of a folder into features, and group them with scikit-learn.

python train.py task=embedding data=table data.path=people.csv
python examples/embed_and_cluster.py logs/embedding/table-vae/<date> people.csv groups.csv

python train.py task=embedding data=images data.path=photos/ data.size=32
python examples/embed_and_cluster.py logs/embedding/images-vae/<date> photos/ groups.csv 8
"""

import sys
from pathlib import Path

import pandas as pd
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import vaelab


def main(run: str, source: str, output: str, count: str = "4") -> None:
    """Write the group of each row or picture into a CSV file, and print how large the groups are."""
    if Path(source).is_dir():
        files = sorted(path for path in Path(source).rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
        things, examples = files, pd.DataFrame({"file": [str(path) for path in files]})
    else:
        things = examples = pd.read_csv(source)
    codes = vaelab.load(run).encode(things)  # an array (examples, numbers of a code)
    groups = make_pipeline(StandardScaler(), KMeans(int(count), random_state=0)).fit_predict(codes)
    examples.assign(group=groups).to_csv(output, index=False)
    print(f"{len(codes)} examples in {count} groups, silhouette {silhouette_score(codes, groups):.2f}")
    print(pd.Series(groups).value_counts().sort_index().to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
