"""The report of a run: verdict, answers, page."""
