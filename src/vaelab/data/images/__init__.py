"""Images: a folder, Parquet or the hub, and the digits that scikit-learn carries."""
