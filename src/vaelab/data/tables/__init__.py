"""Tables: any CSV or Parquet file, and the one that scikit-learn carries."""
