"""What a person sees: figures, films, pages and the progress of a run."""
