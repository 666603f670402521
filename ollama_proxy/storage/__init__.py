"""Where calls and their totals are kept. Not here: what a call is, nor what its numbers mean."""
