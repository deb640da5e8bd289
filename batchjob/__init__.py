"""batchjob: label a big file through an OpenAI-compatible endpoint, resumable, and never paid twice."""

__version__ = "0.1.0"
