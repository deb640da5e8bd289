"""What is known of the providers: data with dates and sources, and what follows from it for a request."""
