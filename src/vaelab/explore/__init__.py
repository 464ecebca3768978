"""A page in the browser for a trained model. Nothing but `page` and `server` needs Gradio."""
