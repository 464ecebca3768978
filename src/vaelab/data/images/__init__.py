"""Image data: folders, Parquet files, the Hugging Face hub, and the digits of scikit-learn."""
