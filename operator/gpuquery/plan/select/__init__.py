"""From what a job asks for to what it gets: request, candidates, choice, explanation."""
