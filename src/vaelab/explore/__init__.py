"""Explore a trained model in the browser. Only `page` and `server` need Gradio."""
